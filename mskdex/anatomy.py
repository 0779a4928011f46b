"""Registry of structures and label sources; everything else takes them from the config."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["muscle", "bone"]
Side = Literal["left", "right", "midline"]


@dataclass(frozen=True)
class Structure:
    """A named structure.

    Attributes:
        name: snake_case, without side.
        kind: muscle or bone.
        paired: whether there is a left and a right one.
        body: the rigid body that a bone belongs to ("pelvis"; of a paired body, "femur" stands for
            femur_left and femur_right); None for muscles.
        bone_loss: whether the bone's registered DRRs enter the bone loss (the paper's K).
    """

    name: str
    kind: Kind
    paired: bool = True
    body: str | None = None
    bone_loss: bool = False


STRUCTURES = (
    Structure("gluteus_maximus", "muscle"),
    Structure("gluteus_medius", "muscle"),
    Structure("gluteus_minimus", "muscle"),
    Structure("iliacus", "muscle"),
    Structure("obturator_externus", "muscle"),
    Structure("pectineus", "muscle"),
    Structure("pelvis", "bone", body="pelvis", bone_loss=True),
    Structure("sacrum", "bone", paired=False, body="pelvis"),
    Structure("femur", "bone", body="femur", bone_loss=True),
)
"""The nine objects of the paper's tables, in its order (MSKdeX, Gu et al. 2023)."""

LabelKey = int | str
"""An id in a label map, or a structure's name in a source that carries names."""

LabelKeys = LabelKey | tuple[LabelKey, ...]
"""One side's key, or several that are united."""

LabelSource = dict[str, tuple[LabelKeys, ...]]
"""Keys of each object: (left, right) of a paired one; of another all that belong to it."""

LABEL_SOURCES: dict[str, LabelSource] = {
    "totalsegmentator": {
        "gluteus_maximus": (80, 81),
        "gluteus_medius": (82, 83),
        "gluteus_minimus": (84, 85),
        "iliopsoas": (88, 89),
        "pelvis": (77, 78),
        "sacrum": (25,),
        "femur": (75, 76),
    },
    "totalsegmentator_v1": {
        "gluteus_maximus": (94, 95),
        "gluteus_medius": (96, 97),
        "gluteus_minimus": (98, 99),
        "iliopsoas": (102, 103),
        "pelvis": (90, 91),
        "sacrum": (92,),
        "femur": (88, 89),
    },
    "musclemap": {
        "gluteus_maximus": (6121, 6122),
        "gluteus_medius": (6111, 6112),
        "gluteus_minimus": (6101, 6102),
        "iliacus": (6141, 6142),
        "obturator_externus": (6211, 6212),
        "pectineus": (6191, 6192),
        "pelvis": (6151, 6152),
        "sacrum": (6160,),
        "femur": (6171, 6172),
    },
}
"""Label ids of each source, (left, right) of a paired structure.

Sources: TotalSegmentator v2, task `total`, and its v1, whose ids are others; MuscleMap. A source that is not
listed, and is not in the config either, is read by name from the label file's own names (a `.json` beside it, a
segmentation's own segment names, or one mask file per structure): NAIST CT81 is such a source.
"""

NAMED = "named"
"""Label source of files that carry their structures' names."""

ALIASES: dict[str, str] = {
    "hip": "pelvis",
    "hip_bone": "pelvis",
    "hipbone": "pelvis",
    "coxal_bone": "pelvis",
    "os_coxae": "pelvis",
    "innominate": "pelvis",
    "innominate_bone": "pelvis",
    "pelvic_bone": "pelvis",
    "sacral_bone": "sacrum",
    "os_sacrum": "sacrum",
    "thigh_bone": "femur",
    "femoral_bone": "femur",
    "glut_max": "gluteus_maximus",
    "gluteus_max": "gluteus_maximus",
    "glut_med": "gluteus_medius",
    "gluteus_med": "gluteus_medius",
    "glut_min": "gluteus_minimus",
    "gluteus_min": "gluteus_minimus",
    "obturator_ext": "obturator_externus",
    "ilio_psoas": "iliopsoas",
}
"""Other names of structures in label files that carry names, e.g. TotalSegmentator's `hip_left`."""
