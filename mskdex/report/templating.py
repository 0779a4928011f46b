"""Templates, and data packed into a page."""

import base64
import functools
import gzip
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_FOLDER = Path(__file__).parent / "templates"


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: Any) -> str:
    """Fills a template of this package; the shared style sheet and script come with it."""
    return _environment().get_template(template).render(css=asset("style.css"), common_js=asset("common.js"), **values)


@functools.cache
def asset(name: str) -> Markup:
    """A style sheet or script, to stand inside a page."""
    return Markup((_FOLDER / name).read_text(encoding="utf-8"))


def pack(content: Any) -> Markup:
    """JSON, compressed, as text that may stand in a page."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return _packed(text.encode())


@functools.cache
def plotly() -> Markup:
    """The plotting library, compressed: a page that opens from disk needs no network."""
    import plotly as package

    return _packed((Path(package.__file__).parent / "package_data" / "plotly.min.js").read_bytes())


def _packed(content: bytes) -> Markup:
    return Markup(base64.b64encode(gzip.compress(content, 9, mtime=0)).decode())
