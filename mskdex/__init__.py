"""MSKdeX: muscle and bone, object by object, from one plain radiograph.

From a CT and its labels to object-wise DRRs:

    import mskdex
    ct = mskdex.read_ct("ct.nii.gz")
    labels = mskdex.read_labels("labels.nii.gz", ct, "totalsegmentator")
    drrs = mskdex.render(ct, labels)
    print(drrs.sums()[["volume_cm3", "lean_mass_g"]])

From a radiograph to masses:

    import mskdex
    model = mskdex.load_model("model.safetensors")
    print(mskdex.predict(model, "radiograph.dcm").masses_g)

Arrays of volumes are (z, y, x) with RAS millimetres as world; images are (rows, columns).
"""

from typing import TYPE_CHECKING

__version__ = "0.2.0"

__all__ = [
    "Camera",
    "MskdexError",
    "Pose",
    "load_model",
    "measure",
    "predict",
    "quantities",
    "read_ct",
    "read_labels",
    "read_radiograph",
    "register",
    "render",
]

if TYPE_CHECKING:
    from mskdex import quantities
    from mskdex.api.pose import Pose
    from mskdex.api.prediction import load_model, predict
    from mskdex.api.radiographs import read_radiograph, register
    from mskdex.api.rendering import render
    from mskdex.api.volumes import measure, read_ct, read_labels
    from mskdex.errors import MskdexError
    from mskdex.geometry.camera import Camera
else:
    _PLACES = {
        "Camera": "geometry.camera",
        "MskdexError": "errors",
        "Pose": "api.pose",
        "load_model": "api.prediction",
        "measure": "api.volumes",
        "predict": "api.prediction",
        "read_ct": "api.volumes",
        "read_labels": "api.volumes",
        "read_radiograph": "api.radiographs",
        "register": "api.radiographs",
        "render": "api.rendering",
    }

    def __getattr__(name: str) -> object:
        """Imports a public name when it is first used: `import mskdex` itself loads neither torch nor SimpleITK."""
        from importlib import import_module

        if name == "quantities":
            return import_module("mskdex.quantities")
        if name not in _PLACES:
            msg = f"module mskdex has no attribute {name}"
            raise AttributeError(msg)
        return getattr(import_module(f"mskdex.{_PLACES[name]}"), name)

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])
