"""Concepts that were made elsewhere, and what is said about them."""

from __future__ import annotations

from pathlib import Path

import torch
from huggingface_hub import HfApi

from jobs.submission.bringing_in import Wish
from tests.tiny_models import WIDTH

ROWS = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(1))


def about(base: Path, source: str = "", **changes: str) -> Wish:
    return Wish(**{"source": source, "name": "red-mug", "class_word": "teapot", "base": str(base)} | changes)


def upload(api: HfApi, repo_id: str, **files: Path) -> str:
    api.create_repo(repo_id, exist_ok=True)
    commit = ""
    for name, file in files.items():
        path = name.replace("__", ".")
        commit = api.upload_file(repo_id=repo_id, path_or_fileobj=file, path_in_repo=path).oid
    return commit
