"""The list of a job's files in the mirror: what makes half a copy different from a whole one.

A list is named after its number and its own hash, `whole-000012-0123456789abcdef.json`. One that is not what its name
says does not count.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from trainer.inside_paths import InsidePath

_NAME = re.compile(r"whole-(\d{6,})-([0-9a-f]{16})\.json")
_MAX_BYTES = 64 * 2**20


class CopiedFile(BaseModel):
    """One file of a job: its path in the run folder, its name in the mirror, and what it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: InsidePath
    stored: str
    bytes: int
    mtime_ns: int
    sha256: str

    @model_validator(mode="after")
    def _is_stored_as_itself(self) -> CopiedFile:
        if not re.fullmatch(re.escape(self.path) + r"(~\d+)?", self.stored):
            raise ValueError("not a file of a run")
        return self

    @property
    def unit(self) -> str:
        """What is whole or of no use: a checkpoint with all of its files, else the file itself."""
        first, second, *_ = [*self.path.split("/"), ""]
        return f"{first}/{second}" if first == "checkpoints" else self.path


class CopyList(BaseModel):
    """Everything that a copy consists of; a later list has a higher number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    number: int = 0
    files: tuple[CopiedFile, ...] = ()


def is_list(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def written_list(copy: CopyList) -> tuple[str, bytes]:
    """Name and content of a list."""
    content = copy.model_dump_json().encode()
    return _name(copy.number, content), content


def read_newest_list(folder: Path) -> CopyList | None:
    """The newest list of a folder that is whole; None where there is none. Raises OSError where it cannot be read."""
    names = sorted((name for name in _names(folder) if is_list(name)), key=_number, reverse=True)
    return next((copy for name in names if (copy := _read(folder / name)) is not None), None)


def _read(file: Path) -> CopyList | None:
    with os.fdopen(open_plain(file), "rb") as stream:
        content = stream.read(_MAX_BYTES)
    try:
        copy = CopyList.model_validate_json(content)
    except ValidationError:
        return None
    return copy if file.name == _name(copy.number, content) else None


def open_plain(file: Path, *, write: bool = False) -> int:
    """A descriptor of an ordinary file. Raises OSError for a link and for anything else that is no file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC if write else os.O_RDONLY
    descriptor = os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{file} is no ordinary file")
    return descriptor


def plain_folder(root: Path, relative: str, *, make: bool = False) -> Path:
    """A folder below `root`. Raises OSError where the way there leads over a link."""
    folder = root
    for part in Path(relative).parts:
        folder = folder / part
        if folder.is_symlink():
            raise OSError(f"{folder} is a link, and links are not followed")
        if make:
            folder.mkdir(exist_ok=True)
    return folder


def files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every entry below a folder that is no folder, with its path in it; links are given, never followed."""
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in (*files, *links):
            file = Path(parent) / name
            yield file.relative_to(folder).as_posix(), file


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()] if folder.is_dir() and not folder.is_symlink() else []


def _number(name: str) -> int:
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else -1


def _name(number: int, content: bytes) -> str:
    return f"whole-{number:06d}-{hashlib.sha256(content).hexdigest()[:16]}.json"
