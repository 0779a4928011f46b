"""The built-in anatomy, made once."""

import pytest

from mskdex.deformation.template import Template
from mskdex.virtual.built_in_anatomy import built_in


@pytest.fixture(scope="session")
def template() -> Template:
    return built_in(2.5)
