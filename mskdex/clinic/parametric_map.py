"""The decomposition of one radiograph as a Parametric Map: cm³ and g per pixel, a frame per object and quantity."""

import numpy as np
from highdicom import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence, VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from mskdex.api.prediction import PREDICTED, Prediction
from mskdex.clinic import codes as own
from mskdex.clinic.object_context import ObjectContext
from mskdex.config.objects import Channel
from mskdex.quantities import COLUMNS, QUANTITIES

MOST = 65535
"""The greatest value that is stored."""

_SIDES = {"left": "L", "right": "R", "midline": "U"}
_ACROSS = {"AP": (1.0, 0.0, 0.0), "PA": (-1.0, 0.0, 0.0)}
"""Direction of a row, LPS: towards the patient's left in an AP view, right in a PA view."""
_DOWN = (0.0, 0.0, -1.0)


def parametric_map(
    source: Dataset, prediction: Prediction, context: ObjectContext, pixel_mm: float, view: str
) -> ParametricMap:
    """The volume of every object, frame by frame, then the lean mass of every object.

    Pixels are uint16, which every viewer shows, and each frame's real-world value mapping brings them back to cm³ or g:
    the frame's greatest value is 65535. A sum over a frame is the object's volume or mass. The frames lie in a frame
    of reference of their own, as a radiograph has none: its origin is the middle of the radiograph on the detector, its
    axes are the patient's (LPS) as an upright AP or PA view shows them.

    Args:
        source: of `read_source`.
        prediction: of that radiograph.
        context: who made it, and when.
        pixel_mm: of the prediction's grid, which has the radiograph's middle.
        view: of the radiograph, AP or PA.
    """
    frames = [(quantity, n) for quantity in PREDICTED for n in range(len(prediction.channels))]
    values = np.stack([prediction.drr[QUANTITIES.index(q), n] for q, n in frames], axis=-1).clip(0.0)
    slopes = np.maximum(values.max(axis=(0, 1)) / MOST, 1e-12)
    pixels = np.rint(values / slopes).astype(np.uint16)
    found = ParametricMap(
        source_images=[_placed(source, context, view)],
        pixel_array=pixels[None],
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            [_mapping(number, quantity, prediction.channels[n], float(slopes[number]))]
            for number, (quantity, n) in enumerate(frames)
        ],
        voi_lut_transformations=[VOILUTTransformation(window_center=MOST / 2, window_width=MOST)],
        pixel_measures=PixelMeasuresSequence(pixel_spacing=(pixel_mm, pixel_mm), slice_thickness=1.0),
        plane_orientation=PlaneOrientationSequence("PATIENT", (*_ACROSS[view], *_DOWN)),
        plane_positions=[PlanePositionSequence("PATIENT", _corner((pixels.shape[0], pixels.shape[1]), pixel_mm, view))],
        content_label="DECOMPOSITION",
        content_description="Volume (cm3) and lean mass (g) per pixel and object",
        coding_schemes=[own.private_scheme()],
        **context.instance("decomposition", 9102),
    )
    _index(found, context)
    for item, (_, n) in zip(found.PerFrameFunctionalGroupsSequence, frames, strict=True):
        item.FrameAnatomySequence = [_anatomy(prediction.channels[n])]
    return found


def _index(image: ParametricMap, context: ObjectContext) -> None:
    """Makes the frames' mappings their dimension: highdicom indexes by position alone, which is one for all."""
    dimension = image.DimensionIndexSequence[0]
    dimension.DimensionIndexPointer = tag_for_keyword("LUTLabel")
    dimension.FunctionalGroupPointer = tag_for_keyword("RealWorldValueMappingSequence")
    dimension.DimensionDescriptionLabel = "Quantity and structure"
    dimension.DimensionOrganizationUID = context.uid("dimensions")
    image.DimensionOrganizationSequence[0].DimensionOrganizationUID = dimension.DimensionOrganizationUID
    for number, item in enumerate(image.PerFrameFunctionalGroupsSequence, start=1):
        item.FrameContentSequence[0].DimensionIndexValues = [number]


def _placed(source: Dataset, context: ObjectContext, view: str) -> Dataset:
    """The source in the map's frame of reference, for highdicom asks where it lies."""
    found = Dataset()
    found.update(source)
    found.FrameOfReferenceUID = context.uid("frame of reference")
    found.ImagePositionPatient, found.ImageOrientationPatient = [0.0, 0.0, 0.0], [*_ACROSS[view], *_DOWN]
    found.PixelSpacing, found.SliceThickness = source.ImagerPixelSpacing, 1.0
    return found


def _corner(shape: tuple[int, int], pixel_mm: float, view: str) -> tuple[float, float, float]:
    """Centre of the first pixel, LPS mm."""
    down, across = ((n - 1) / 2 * pixel_mm for n in shape)
    x, y, z = (0.0 - across * a - down * b for a, b in zip(_ACROSS[view], _DOWN, strict=True))
    return x, y, z


def _mapping(number: int, quantity: str, channel: Channel, slope: float) -> RealWorldValueMapping:
    name, unit = own.MEASURED[COLUMNS[quantity]]
    return RealWorldValueMapping(
        lut_label=f"{quantity.upper()[:9]} {number + 1}",
        lut_explanation=f"{name.meaning} of {channel.name}"[:64],
        unit=unit,
        value_range=(0, MOST),
        slope=slope,
        intercept=0.0,
        quantity_definition=name,
    )


def _anatomy(channel: Channel) -> Dataset:
    found = Dataset()
    found.FrameLaterality = _SIDES[channel.side]
    found.AnatomicRegionSequence = [own.structure_code(channel.object)]
    return found
