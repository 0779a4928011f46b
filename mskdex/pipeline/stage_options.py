"""The settings of a command: JSON from the workflow, or a config file and single keys from a person."""

import functools
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mskdex.errors import MskdexError

if TYPE_CHECKING:
    from mskdex.config import Config
    from mskdex.config.base import Settings

    Model = TypeVar("Model", bound=Settings)

_OPTIONS = {
    "settings": (
        str | None,
        typer.Option("--settings", help="the stage's settings as JSON, as the workflow gives them", hidden=True),
        None,
    ),
    "config": (
        Path | None,
        typer.Option("--config", help="config.yaml; this folder's, or the defaults, if not given"),
        None,
    ),
    "set": (
        list[str] | None,
        typer.Option("--set", help="key of the config that overrules the file's, e.g. rendering.step_mm=0.5"),
        None,
    ),
}
"""By parameter: type, what typer is told, default."""

DEFAULT_CONFIG = Path("config.yaml")


@dataclass(frozen=True)
class StageOptions:
    """Where a command has its settings from.

    Attributes:
        settings: the stage's settings as JSON, or None.
        file: the config file, or None for config.yaml of this folder, or the defaults where there is none.
        changes: keys of the config with their values.
    """

    settings: str | None
    file: Path | None
    changes: Sequence[str]

    def config(self) -> "Config":
        """The config of the file with the changes.

        Raises:
            MskdexError: as of `mskdex.config.reading.read_config_file`.
        """
        from mskdex.config.reading import read_config_file

        file = self.file or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
        return read_config_file(file, self.changes)

    def of(self, model: "type[Model]", **known: Any) -> "Model":
        """The settings of a stage.

        Args:
            model: their class.
            known: what the stage's part of the config depends on besides: label_source, experiment, fold.

        Raises:
            MskdexError: JSON and a config at once, JSON of other settings, or a config that is not as it should be.
        """
        if self.settings is not None:
            if self.file or self.changes:
                msg = "--settings has the stage's settings whole; leave out --config and --set, or --settings"
                raise MskdexError(msg)
            return model.model_validate_json(self.settings)
        from mskdex.pipeline.stage_settings import settings_of

        return settings_of(model, self.config(), known)

    def row(self, patient: str) -> dict[str, Any]:
        """A patient's row of the sheet.

        Args:
            patient: the row as JSON, or a patient_id, which is looked up in the config's sheet.

        Raises:
            MskdexError: the sheet has no such patient, or problems.
        """
        if patient.lstrip().startswith("{"):
            found: dict[str, Any] = json.loads(patient)
            return found
        from mskdex.pipeline.stage_settings import row_of_sheet

        return row_of_sheet(self.config(), patient)


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command --config, --set and a hidden --settings, and to its parameter `options` what they say."""

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        options = StageOptions(values.pop("settings"), values.pop("config"), values.pop("set") or ())
        command(options=options, **values)

    own = [p for p in inspect.signature(command).parameters.values() if p.name != "options"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])
        for name, (kind, option, default) in _OPTIONS.items()
    ]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*own, *added]]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped
