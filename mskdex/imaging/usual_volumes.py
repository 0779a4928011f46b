"""Usual volumes of structures, to find volumes that no patient has."""

USUAL_VOLUMES_CM3: dict[str, float] = {
    "gluteus_maximus": 1242.0,
    "gluteus_medius": 461.0,
    "gluteus_minimus": 203.0,
    "iliacus": 304.0,
    "psoas_major": 262.0,
    "iliopsoas": 566.0,
    "obturator_externus": 72.0,
    "obturator_internus": 107.0,
    "pectineus": 101.0,
    "piriformis": 50.0,
    "quadratus_femoris": 49.0,
    "tensor_fasciae_latae": 130.0,
    "adductor_brevis": 155.0,
    "pelvis": 460.0,
    "sacrum": 240.0,
    "femur": 284.0,
}
"""Volume in cm³ of one side (pelvis: one hip bone), the mean of both sides of one man.

The femur is its part down to 205 mm below the hip centres, the psoas major its part up to 181 mm above them, and the
iliopsoas the sum of iliacus and psoas major: a whole femur has about twice as much, well within the limits of a
hundredth and ten times.

Source: the Visible Human Male, hips segmented by others: D. Denver Visible Human lower-limb surfaces (via
ingvilddevold/muscle-growth) and HuBMAP Human Reference Atlas v1.1, CC BY 4.0; volumes measured from these.
"""
