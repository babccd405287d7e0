"""Files and folders that are there as a whole or not at all, whatever ends the process that writes them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import BaseModel

BEFORE = ".before"
"""Suffix of a folder while it is being replaced by a newer one."""
Model = TypeVar("Model", bound=BaseModel)


def read_model(path: Path, kind: type[Model]) -> Model | None:
    """What a JSON file says; None if it is missing, damaged or cannot be read now."""
    try:
        return read_model_for_certain(path, kind)
    except (OSError, ValueError):
        return None


def read_model_for_certain(path: Path, kind: type[Model]) -> Model | None:
    """What a JSON file says; None only if it is missing. Raises OSError and ValueError."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None


def write_model(path: Path, model: BaseModel) -> None:
    write_whole(path, model.model_dump_json(indent=2) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that it is either the old or the new one, never half."""
    with opened_whole(path) as file:
        file.write(text.encode())


@contextmanager
def opened_whole(path: Path) -> Generator[BinaryIO]:
    """A file to write to that takes its place when the block ends well; another process may be writing it, too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)  # whoever tries again and again on a full disk would leave one each time
        raise


@contextmanager
def written_aside(target: Path) -> Generator[Path]:
    """A folder beside `target` that takes its place when the block ends well: whole or absent."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    before = aside.with_name(aside.name + BEFORE)
    try:
        yield aside
        for file in aside.rglob("*"):
            if file.is_file():
                _flush(file)
        _flush(aside)
        if target.exists():
            target.replace(before)
        aside.replace(target)
        _flush(target.parent)
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
