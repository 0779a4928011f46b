"""Writes the lock files and envs/mskdex.yaml: the installed versions of what pyproject.toml asks for.

Run it in an environment where the project and its tests work: `python envs/lock.py`.
"""

import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LINUX_ONLY = {"triton"}


def versions(requirements: list[str]) -> dict[str, str]:
    """Version of each requirement that is installed, and of all that it needs in turn.

    Raises `importlib.metadata.PackageNotFoundError` where one is not installed.
    """
    found: dict[str, str] = {}
    todo, seen = [Requirement(text) for text in requirements], set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - {e for n, e in seen if n == name}:
            seen.add((name, extra))
            installed = distribution(requirement.name)
            found[name] = installed.version.split("+")[0]
            needed = [Requirement(text) for text in installed.requires or []]
            todo += [r for r in needed if r.marker is None or r.marker.evaluate({"extra": extra})]
    return found


def lines(pins: dict[str, str]) -> str:
    """Text of a lock file, one pin a line."""
    marker = dict.fromkeys(LINUX_ONLY, '; sys_platform == "linux"')
    return "".join(f"{name}=={version}{marker.get(name, '')}\n" for name, version in sorted(pins.items()))


def conda_environment(lock: str) -> str:
    """Text of the conda environment: the lock's pins, written out because Snakemake copies the file elsewhere."""
    pins = [line for line in lock.splitlines() if line and not line.startswith("#")]
    head = [
        "# The environment of every rule: the pins of requirements.lock; made by envs/lock.py.",
        "# envs/mskdex.post-deploy.sh adds the package itself.",
        "channels:",
        "  - conda-forge",
        "  - nodefaults",
        "dependencies:",
        "  - python=3.11",
        "  - pip",
        "  - pip:",
    ]
    return "".join(f"{line}\n" for line in [*head, *(f"      - {pin}" for pin in pins)])


def main() -> None:
    """Writes the lock files and the conda environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    run = versions(project["dependencies"])
    test, node = (versions(project["optional-dependencies"][group]) for group in ("test", "node"))
    head = "# Exact versions of all that `snakemake --cores all` needs (Python 3.11, Linux); made by envs/lock.py.\n"
    (ROOT / "requirements.lock").write_text(head + lines(run), encoding="utf-8")
    (ROOT / "envs" / "mskdex.yaml").write_text(conda_environment(lines(run)), encoding="utf-8")
    head = "# Exact versions of what the DICOM node needs on top; made by envs/lock.py.\n-r requirements.lock\n"
    only_node = {name: version for name, version in node.items() if name not in run}
    (ROOT / "requirements-node.lock").write_text(head + lines(only_node), encoding="utf-8")
    head = "# Exact versions of what the tests need on top; made by envs/lock.py.\n-r requirements-node.lock\n"
    more = {name: version for name, version in test.items() if name not in run | only_node}
    (ROOT / "requirements-test.lock").write_text(head + lines(more), encoding="utf-8")


if __name__ == "__main__":
    main()
