"""Paths as a list from elsewhere may name them: of files in the list's own folder, and of no others."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def stays_inside(path: str) -> bool:
    """Whether a path has no step up, no absolute or empty part and nothing hidden."""
    return "\0" not in path and all(part and not part.startswith(".") for part in path.split("/"))


def _checked(path: str) -> str:
    if not stays_inside(path):
        raise ValueError("not a file of this folder")
    return path


InsidePath = Annotated[str, AfterValidator(_checked)]
"""A path relative to the folder of whatever holds it, with "/" between its parts."""
