"""Copies of Hub models on this machine, in the cache that all programs of its user share. Light: the Hub is not asked.

Its own index is not used: that reads the whole cache, and counts as missing what is never fetched here.
"""

from __future__ import annotations

import json
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

from trainer.bases import TEXT_ENCODERS, VOCABULARIES, BaseReference, inspect_base, tokenizer_of
from trainer.errors import BaseModelError


def cache_folder() -> Path:
    """Where the Hub's client keeps what it fetched."""
    return Path(constants.HF_HUB_CACHE)


def repository_folder(repo_id: str, cache: Path) -> Path:
    """Where a cache has the blobs and snapshots of a model, be they there or not."""
    return cache / repo_folder_name(repo_id=repo_id, repo_type="model")


def snapshots(repo_id: str, revision: str | None = None) -> list[Path]:
    """The folders of the commits that were fetched, whole or in part, the newest first; of one commit if one is asked
    for."""
    found = (repository_folder(repo_id, cache_folder()) / "snapshots").glob(f"{revision or ''}*")
    return sorted(found, key=lambda folder: folder.stat().st_mtime, reverse=True)


def newest_copy(base: BaseReference) -> Path | None:
    """The newest whole copy of a base, at the commit that is asked for if one is."""
    return next((folder for folder in snapshots(base.name, base.revision) if _is_whole(folder)), None)


def _is_whole(folder: Path) -> bool:
    """Whether a snapshot has all files that are loaded: a download that broke off may have left any of them out."""
    try:
        encoders = TEXT_ENCODERS[inspect_base(folder).family]
    except (OSError, BaseModelError):
        return False
    for encoder in encoders:
        tokenizer = folder / tokenizer_of(encoder)
        if not (folder / encoder / "config.json").is_file():
            return False
        if not any((tokenizer / vocabulary).is_file() for vocabulary in VOCABULARIES):
            return False
    for index in folder.glob("*/*.safetensors.index.json"):
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if not all((index.parent / shard).is_file() for shard in shards):
            return False
    return True
