"""The command line: one command per stage; parses, calls, reports errors.

Every module of this package that has an `app` adds its commands. They import what they run when they run it, so that
`mskdex --help` stays quick.
"""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated

import typer

from mskdex.pipeline.program import run, set_up

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Muscle and bone, object by object, from one radiograph."
)


@app.callback()
def _logging(log_file: Annotated[Path | None, typer.Option("--log", help="file for the full log")] = None) -> None:
    set_up(log_file)


def _commands() -> None:
    for module in iter_modules(__path__, f"{__name__}."):
        commands = getattr(import_module(module.name), "app", None)
        if commands is not None:
            app.add_typer(commands)


_commands()


def main() -> None:
    """Runs the command line; a user's mistake is one sentence on stderr and exit code 1."""
    run(app)
