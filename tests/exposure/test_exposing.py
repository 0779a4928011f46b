import numpy as np
import pytest

from mskdex.config.virtual import ExposureSettings
from mskdex.exposure.exposing import LEAN_HU, MATERIALS, Beam, expose, material_tables, primary, scatter
from mskdex.exposure.spectrum import DENSITY_G_CM3, ENERGIES_KEV, mass_attenuation_cm2_g, tungsten_spectrum
from mskdex.geometry.camera import Camera, nominal_pose
from mskdex.quantities import HU_MIN
from mskdex.virtual.examination import BLADE_TRANSMISSION, draw_examination, obstructed

CAMERA = Camera(1100.0, 4.0, (40, 40), (19.5, 19.5))


@pytest.mark.parametrize("substance", ["water", "muscle"])
@pytest.mark.parametrize("voltage", [70.0, 73.4, 80.0])
def test_a_slab_attenuates_as_the_analytic_polychromatic_value(substance, voltage):
    """A slab in the place of lean muscle, through the renderer and the beam: within 1 %."""
    spacing, shape = 4.0, (100, 50, 100)
    ct = np.full(shape, -1000, np.int16)
    ct[:, 10:40] = round(LEAN_HU)
    world = np.diag([spacing, spacing, spacing, 1.0])
    centre = spacing * np.array([49.5, 24.5, 49.5])
    beam, mu = Beam.of(voltage, 3.0), mass_attenuation_cm2_g(substance)
    beam.attenuation[MATERIALS.index("muscle")] = mu * DENSITY_G_CM3[substance] / DENSITY_G_CM3["muscle"]
    found = primary(ct, world, CAMERA, nominal_pose(centre, 900.0), beam)
    rows, columns = np.indices(CAMERA.shape) - 19.5
    oblique = np.sqrt(1.0 + (rows**2 + columns**2) * (CAMERA.pixel_mm / CAMERA.sdd_mm) ** 2)
    grams = 30 * spacing / 10.0 * DENSITY_G_CM3[substance] * oblique
    expected = (beam.spectrum * np.exp(-mu * grams[..., None])).sum(-1)
    assert found == pytest.approx(expected, rel=0.01)


def test_water_slab_against_a_sum_over_energies():
    """Beer-Lambert over the spectrum, for 20 cm of water as a mixture's material would have it."""
    spectrum = tungsten_spectrum(75.0, 3.0)
    mu = mass_attenuation_cm2_g("water")
    beam = Beam(75.0, spectrum, np.stack([mu]))
    found = float(beam.transmission(np.array([[20.0]]))[0])
    assert found == pytest.approx(float(np.trapezoid(spectrum * np.exp(-20.0 * mu), ENERGIES_KEV)), rel=0.01)
    # Harder than any single energy below the mean: the effective µ falls with depth.
    thin = -np.log(float(beam.transmission(np.array([[1.0]]))[0]))
    assert thin > -np.log(found) / 20.0


def test_attenuation_at_known_energies():
    """µ(water) 0.0192 /mm and µ(cortical bone) about 0.05 /mm at 70 keV."""
    water, bone = (mass_attenuation_cm2_g(s, np.array([70.0]))[0] * DENSITY_G_CM3[s] / 10.0 for s in ("water", "bone"))
    assert water == pytest.approx(0.0193, abs=0.0002)
    assert bone == pytest.approx(0.0499, abs=0.002)


def test_attenuation_against_xraylib():
    xraylib = pytest.importorskip("xraylib")
    energies = np.array([20.0, 35.0, 45.0, 60.0, 70.0, 80.0])
    for name, compound in (
        ("water", "Water, Liquid"),
        ("muscle", "Muscle, Skeletal"),
        ("bone", "Bone, Cortical (ICRP)"),
    ):
        theirs = [xraylib.CS_Total_CP(compound, float(e)) for e in energies]
        assert mass_attenuation_cm2_g(name, energies) == pytest.approx(theirs, rel=0.06)


@pytest.mark.slow
def test_spectrum_against_spekpy():
    spekpy = pytest.importorskip("spekpy")
    spectrum = spekpy.Spek(kvp=73, th=12, dk=1.0, z=100.0)
    spectrum.filter("Al", 3.0)
    energies, fluence = spectrum.get_spectrum()
    theirs = np.interp(ENERGIES_KEV, energies, fluence, right=0.0) * ENERGIES_KEV
    ours = tungsten_spectrum(73.0, 3.0)
    assert ours @ ENERGIES_KEV == pytest.approx(theirs @ ENERGIES_KEV / theirs.sum(), rel=0.01)
    assert np.abs(np.cumsum(ours) - np.cumsum(theirs / theirs.sum())).max() < 0.01


def test_spectrum_ends_at_the_voltage_and_hardens_with_the_filter():
    spectrum = tungsten_spectrum(72.0, 3.0)
    assert spectrum.sum() == pytest.approx(1.0)
    assert spectrum[ENERGIES_KEV > 72.5].max() < 1e-9
    assert tungsten_spectrum(72.0, 6.0) @ ENERGIES_KEV > spectrum @ ENERGIES_KEV + 1.0


def test_materials_make_up_their_voxel():
    tables = material_tables()
    hu = lambda value: tables[:, value - HU_MIN]  # noqa: E731
    densities = [DENSITY_G_CM3[m] for m in MATERIALS]
    assert hu(-1000) == pytest.approx([0, 0, 0, 0])
    assert hu(-100) == pytest.approx([densities[0], 0, 0, 0])
    assert hu(57) == pytest.approx([0, densities[1], 0, 0])
    assert hu(3071) == pytest.approx([0, 0, 0, densities[3]])
    shares = tables[:3, : 1600 - HU_MIN] / np.array(densities[:3])[:, None]
    assert np.all(shares >= -1e-6)
    assert shares[:, -100 - HU_MIN :].sum(axis=0) == pytest.approx(1.0, abs=1e-5)


def test_scatter_behind_a_pelvis():
    """Without a grid several times the primary in the middle of 22 cm of tissue, none far outside."""
    transmission = np.ones((110, 110))
    transmission[20:90, 20:90] = np.exp(-0.2 * 22.0)
    without = scatter(transmission, 4.0, 1.0)
    assert 2.0 < without[55, 55] / transmission[55, 55] < 4.0
    assert without[2, 2] < 0.01 * without[55, 55]
    assert scatter(transmission, 4.0, 6.0)[55, 55] == pytest.approx(without[55, 55] / 6.0)


def test_noise_is_poisson_s():
    settings = ExposureSettings.model_validate({"photons_per_mm2": 1000.0, "blur_mm": 0.0, "focal_spot_mm": 0.0})
    camera = Camera(1000.0, 0.5, (200, 200), (99.5, 99.5))
    image = expose(np.full(camera.shape, 1.0), camera, 1.2, settings, np.random.default_rng(0))
    assert image.mean() == pytest.approx(1.0, rel=0.01)
    assert image.std() == pytest.approx(1.0 / np.sqrt(250.0), rel=0.03)


def test_collimator_and_marker():
    settings = ExposureSettings.model_validate({"collimated_fraction": 1.0, "marked_fraction": 1.0})
    how = draw_examination(settings, 2.0, np.random.default_rng(4))
    image = obstructed(np.ones(how.camera.shape), how)
    first_row, last_row, first_column, last_column = how.collimation
    assert image[0, 0] == image[-1, last_column + 1] == BLADE_TRANSMISSION
    inside = image[first_row : last_row + 1, first_column : last_column + 1]
    lead = np.argwhere(inside < 1.0)
    assert 10 < len(lead) < 400
    assert lead[:, 0].max() < 0.2 * len(inside)
    left = lead[:, 1].mean() > inside.shape[1] / 2
    assert left == (how.marker == "L")


def test_geometry_stays_in_its_range():
    settings = ExposureSettings.model_validate({})
    for seed in range(50):
        how = draw_examination(settings, 0.8, np.random.default_rng(seed))
        assert 1000.0 <= how.camera.sdd_mm <= 1200.0
        assert 70.0 <= how.tube_voltage_kv <= 80.0
        assert 1.05 < how.magnification < 1.3
        assert how.camera.shape[0] * how.camera.pixel_mm == pytest.approx(430.0, abs=1.0)
