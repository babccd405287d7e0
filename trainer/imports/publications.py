"""Repositories that this app published: their manifest says what a person would be asked of any other."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.artifact import Manifest
from trainer.bases import HUB_ID
from trainer.recipe.choices import STARTER
from trainer.run_folder import MANIFEST_FILE

TAG = "concept-studio"
"""What the cards of all of them are marked with on the Hub."""
_MOST_BYTES = 1_000_000


def may_be_publication(sizes: Mapping[str, int]) -> bool:
    """Whether a repository with files of these sizes holds a manifest, which then is to be read."""
    return 0 < sizes.get(MANIFEST_FILE, 0) <= _MOST_BYTES


def said_by(manifest: Manifest) -> dict[str, object]:
    """What an import of it is told; without a base where that is a folder of another machine."""
    about: dict[str, object] = {"name": manifest.name, "kind": manifest.kind, "class_word": manifest.class_word}
    base = manifest.base
    if base.name != STARTER and not HUB_ID.fullmatch(base.name):
        return about
    return about | {"base": base.name, "base_revision": base.revision, "base_prediction": base.prediction}
