"""Whole runs at Hugging Face, with real processes at both ends: the same files as at home, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from huggingface_hub import HfApi

from jobs.service import JobService, JobView
from jobs.state import JobState
from jobs.store import Job
from jobs.tokens import TokenDesk
from tests.hub.accounts import ALICE
from tests.hub.local_hub import LocalHub
from tests.jobs.remote.conftest import follower
from tests.waiting import wait_until
from trainer.artifact import check_hashes, read_manifest
from trainer.settings import Settings

# said inside the client library, about how it sends LFS files
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
Send = Callable[..., Job]


def view(service: JobService, job: Job) -> JobView:
    return service.view(job.id, "anna")


def test_run_comes_home_like_a_local_one_and_leaves_nothing_behind(
    hub: LocalHub, alice: HfApi, settings: Settings, service: JobService, send: Send, desk: TokenDesk
) -> None:
    job = send()
    with follower(settings, hub):
        desk.hand_over_for_training("anna", ALICE)
        wait_until(lambda: view(service, job).job.state is JobState.finished, seconds=120)
    run = service.run_folder(job.id)
    manifest = read_manifest(run.artifact)
    check_hashes(run.artifact, manifest)
    assert manifest.steps == 6
    assert sorted(entry.path for entry in manifest.files) == ["learned_embeds.safetensors", "red-mug.safetensors"]
    assert len(list(run.previews.glob("*.png"))) == 3
    done = view(service, job)
    assert done.job.message == "Trained and verified."
    assert done.progress.seconds is not None
    assert list(alice.list_buckets("alice")) == []
