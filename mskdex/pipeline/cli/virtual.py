"""Virtual patients."""

from pathlib import Path
from typing import Annotated

import typer

from mskdex.pipeline.cli.options import Out
from mskdex.pipeline.stage_options import StageOptions, with_settings

app = typer.Typer()
virtual_app = typer.Typer(no_args_is_help=True, help="Virtual patients.")
app.add_typer(virtual_app, name="virtual")


@app.command("synthesize-sheet")
@with_settings
def synthesize_sheet(options: StageOptions, out: Out) -> None:
    """Write the sheet of the virtual cohort."""
    from mskdex.config.virtual import VirtualSettings
    from mskdex.pipeline.stages.synthesize import write_sheet

    write_sheet(options.of(VirtualSettings), out)


@app.command()
@with_settings
def synthesize(patient: str, options: StageOptions, out: Out) -> None:
    """Synthesise a virtual patient: CT, labels, radiograph."""
    from mskdex.config.virtual import VirtualSettings
    from mskdex.pipeline.stages.synthesize import synthesize as stage

    stage(patient, options.of(VirtualSettings), out)


@virtual_app.command("preview")
@with_settings
def virtual_preview(
    patient: Annotated[str, typer.Argument(help="id of the virtual cohort, e.g. V0001")],
    options: StageOptions,
    out: Annotated[Path | None, typer.Option(help="PNG to write; {patient}.png if not given")] = None,
) -> None:
    """Draw one figure of a virtual patient: CT, labels, radiograph, object-wise DRRs."""
    from mskdex.config.virtual import VirtualSettings
    from mskdex.pipeline.stages.synthesize import preview

    preview(patient, options.of(VirtualSettings), out or Path(f"{patient}.png"))


@virtual_app.command("posed-labels")
@with_settings
def virtual_posed_labels(
    patient: Annotated[str, typer.Argument(help="id of the virtual cohort, e.g. V0001")],
    options: StageOptions,
    out: Annotated[Path | None, typer.Option(help="NIfTI to write; {patient}_posed.nii.gz if not given")] = None,
) -> None:
    """Write the labels of a virtual patient's body as it stands for the radiograph."""
    from mskdex.config.virtual import VirtualSettings
    from mskdex.pipeline.stages.synthesize import posed_labels

    posed_labels(patient, options.of(VirtualSettings), out or Path(f"{patient}_posed.nii.gz"))
