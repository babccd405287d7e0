"""The metadata at the head of README.md."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.hub.blobs import BlobStore
from tests.hub.repositories import Commit

_FRONT_MATTER = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---", re.DOTALL)


def read_metadata(text: str) -> dict[str, Any]:
    """The metadata of a card; raises ValueError with the reason where the Hub would not take it."""
    found = _FRONT_MATTER.match(text)
    if found is None:
        return {}
    try:
        metadata = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        raise ValueError(f"YAML: {' '.join(str(error).split())}") from error
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise ValueError("The metadata must be a mapping")
    return metadata


def card_of(commit: Commit, blobs: BlobStore) -> dict[str, Any]:
    """The metadata of a commit's card, as JSON can carry it."""
    entry = commit.files.get("README.md")
    if entry is None:
        return {}
    metadata = read_metadata(blobs.path(entry.sha256).read_text(encoding="utf-8", errors="replace"))
    return {key: value for key, value in metadata.items() if isinstance(value, str | int | float | bool | list)}
