"""Publishing to the local Hub, and what is there afterwards."""

from __future__ import annotations

from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile

from jobs.publishing.publish import publish
from jobs.publishing.repository import repository_files
from tests.hub.accounts import ALICE
from tests.hub.local_hub import LocalHub
from trainer.run_folder import RunFolder

MUG = "alice/red-mug"


def try_publish(hub: LocalHub, run: RunFolder, token: str | None = ALICE, repo_id: str = MUG, **options: Any) -> Any:
    return publish(run, repo_id, token, **options)


def tree(api: HfApi, repo_id: str = MUG) -> dict[str, RepoFile]:
    return {e.path: e for e in api.list_repo_tree(repo_id, recursive=True) if isinstance(e, RepoFile)}


def assert_complete(api: HfApi, run: RunFolder) -> None:
    """The remote tree is what is meant, no more and no less."""
    meant = repository_files(run, MUG, base_licence=None)
    remote = tree(api)
    assert remote.keys() - {".gitattributes"} == meant.keys()
    for path, content in meant.items():
        entry = remote[path]
        same = entry.lfs.sha256 == content.identity.sha256 if entry.lfs else entry.blob_id == content.identity.git
        assert same, path


def commits(api: HfApi) -> int:
    return len(api.list_repo_commits(MUG))
