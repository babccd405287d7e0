"""What the environment may say, and what its folders must allow; where they do not, the sentence that says so."""

from __future__ import annotations

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from trainer.errors import RequestError

_PATH = "a whole path that begins with /"
_MUST_BE = {
    "home": _PATH,
    "mirror": _PATH,
    "shared": _PATH,
    "database_url": "a URL that begins with sqlite://// (a whole path) or postgresql://",
}


def must_be(name: str, field: FieldInfo) -> str:
    """What the value of a field of the settings must be."""
    return _MUST_BE.get(name) or _expected(field)


def _expected(field: FieldInfo) -> str:
    """What a flag, a choice or a number must be."""
    kind: Any = next(kind for kind in (*get_args(field.annotation), field.annotation) if kind is not type(None))
    if kind is bool:
        return "1 or 0"
    if issubclass(kind, StrEnum):
        *first, last = kind
        return f"{', '.join(first)} or {last}"
    number = "a whole number" if kind is int else "a number"
    above = [bound.gt for bound in field.metadata if isinstance(bound, Gt)]
    if above:
        return f"{number} above {above[0]}"
    least = [bound.ge for bound in field.metadata if isinstance(bound, Ge)]
    most = [bound.le for bound in field.metadata if isinstance(bound, Le)]
    return f"{number} from {least[0]} to {most[0]}"


def check_writable(folder: Path, variable: str) -> None:
    """Make a folder that `variable` names. Raises RequestError, with the path and the way out, where it is not ours."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise RequestError(
            f"The data folder {folder} cannot be written ({error.strerror}). "
            f"Make it yours, or set {variable} to a folder that is."
        ) from error


def check_apart(folder: Path, mirror: Path, variable: str) -> None:
    """Raise RequestError where a folder and its mirror lie inside each other."""
    folder, mirror = folder.resolve(), mirror.resolve()
    if folder.is_relative_to(mirror) or mirror.is_relative_to(folder):
        raise RequestError(
            f"The mirror {mirror} and the data folder {folder} lie inside each other. "
            f"Set STUDIO_MIRROR or {variable} to a folder of its own."
        )
