"""Files that outlive a loss of power: synced, renamed, and their folder synced."""

import os
import shutil
from pathlib import Path


def sync(path: Path) -> None:
    """Brings a file's content, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put(path: Path, to: Path) -> None:
    """Renames a file or folder within the file system and syncs the folders that it left and came to."""
    os.replace(path, to)
    sync(to.parent)
    if path.parent != to.parent:
        sync(path.parent)


def write(path: Path, text: str) -> None:
    """Writes a small file whole: under a temporary name, synced and renamed."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    sync(temporary)
    put(temporary, path)


def make(path: Path) -> None:
    """Makes a folder that only its owner may enter, and syncs the folder that it lies in."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync(path.parent)


def remove(path: Path) -> None:
    """Removes a folder with what is in it; one that is not there is no error."""
    shutil.rmtree(path, ignore_errors=True)


def size(folder: Path) -> int:
    """Bytes of all files in a folder and those below; files that go meanwhile do not count."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(place, name).lstat().st_size
            except FileNotFoundError:
                continue
    return total
