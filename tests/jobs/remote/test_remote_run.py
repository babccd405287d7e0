"""Whole runs at Hugging Face, with real processes at both ends: the same files as at home, and nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable

import psutil
import pytest
from huggingface_hub import HfApi

from jobs.hub.tokens import TokenDesk
from jobs.record.state import JobState
from jobs.record.store import Job
from jobs.remote.hub_job import COMMAND
from jobs.service import JobService
from tests import ROOT
from tests.hub.accounts import ALICE
from tests.hub.local_hub import LocalHub
from tests.jobs.processes import follower
from tests.jobs.remote.conftest import hub_jobs, message
from tests.jobs.watching import LONG, starts, state, step
from tests.waiting import wait_until
from trainer.artifact import check_hashes, read_manifest
from trainer.settings import Settings

Send = Callable[..., Job]


@pytest.mark.fault(59)
def test_run_comes_home_like_a_local_one_and_leaves_nothing_behind(
    hub: LocalHub, alice: HfApi, settings: Settings, service: JobService, send: Send, desk: TokenDesk
) -> None:
    job = send(preview_every_steps=3, preview_count=1)
    with follower(settings, hub):
        desk.hand_over_for_training("anna", ALICE)
        wait_until(lambda: state(service, job) is JobState.finished)
    run = service.run_folder(job.id)
    manifest = read_manifest(run.artifact)
    check_hashes(run.artifact, manifest)
    assert manifest.steps == 6
    assert sorted(entry.path for entry in manifest.files) == ["learned_embeds.safetensors", "red-mug.safetensors"]
    assert len(list(run.previews.glob("*.png"))) == 3
    assert run.read_recipe().base_revision == alice.model_info("alice/tiny").sha
    done = service.view(job.id, "anna")
    assert done.job.message == "Trained and verified."
    assert done.progress.seconds is not None
    assert done.remote is not None
    assert done.remote.cost_usd(0) == pytest.approx(0.4 * done.remote.ran_s(0) / 3600)
    assert json.loads((settings.home / "speeds-t4-small.json").read_text())
    assert not (settings.home / "speeds.json").exists()
    assert list(alice.list_buckets("alice")) == []
    for file in [f for f in settings.home.rglob("*") if f.is_file()]:
        assert ALICE.encode() not in file.read_bytes(), file


@pytest.mark.fault(49, 59)
def test_what_the_job_is_told_holds_no_token_and_nothing_that_a_person_wrote(
    hub: LocalHub, alice: HfApi, settings: Settings, service: JobService, send: Send, desk: TokenDesk
) -> None:
    hub.hold_jobs(held=True)
    text, word = "/proc/self/environ", "pyproject.toml"
    assert (ROOT / word).is_file()  # a file where the follower works
    job = send(preview_prompt=text, class_word=word)
    bucket = f"alice/concept-studio-{job.id}"
    with follower(settings, hub):
        desk.hand_over_for_training("anna", ALICE)
        wait_until(lambda: hub_jobs(alice))
        (told,) = hub_jobs(alice)
        assert told.command == COMMAND
        assignment = {"job": job.id, "bucket": bucket, "stop_after_s": 480.0}  # of the 600 s that it may run
        assert told.environment == {"STUDIO_REMOTE": json.dumps(assignment, separators=(",", ":"))}
        assert list(told.secrets or {}) == ["HF_TOKEN"]
        assert "HF_TOKEN" not in (told.environment or {})
        assert "self/environ" not in repr(told)
        assert word not in repr(told)
        assert alice.bucket_info(bucket).private
        run = service.run_folder(job.id)
        sent = {file.path for file in alice.list_bucket_tree(bucket, recursive=True)}
        assert sent == {"config.json", *(run.relative(f) for f in run.photos.iterdir() if f.is_file())}
        assert run.read_recipe().preview_prompt == text
        assert not [request for request in hub.requests() if request.line.startswith("POST /api/repos/create")][1:]
        wait_until(lambda: "Waiting for a machine at Hugging Face" in message(service, job))
        service.cancel(job.id, "anna")
        wait_until(lambda: state(service, job) is JobState.cancelled)
    assert hub_jobs(alice)[0].status.stage == "CANCELED"
    assert list(alice.list_buckets("alice")) == []


@pytest.mark.slow  # quick: test_record.py, test_remote_faults.py
def test_stopped_run_is_kept_and_resume_goes_on_in_a_new_job_that_sends_its_newest_step_when_it_is_told_to_end(
    hub: LocalHub, alice: HfApi, settings: Settings, service: JobService, send: Send, desk: TokenDesk
) -> None:
    job = send(**LONG)
    run = service.run_folder(job.id)
    with follower(settings, hub):
        desk.hand_over_for_training("anna", ALICE)
        wait_until(lambda: step(service, job) > 20)
        assert state(service, job) is JobState.running
        assert message(service, job) == ""
        service.stop_and_keep(job.id, "anna")
        wait_until(lambda: state(service, job) is JobState.stopped)
        kept = read_manifest(run.artifact)
        check_hashes(run.artifact, kept)
        assert 20 < kept.steps < LONG["steps"]
        assert list(alice.list_buckets("alice")) == []
        service.resume(job.id, "anna")
        wait_until(lambda: step(service, job) > kept.steps + 20)
        process_inside(job).terminate()
        wait_until(lambda: state(service, job) is JobState.failed)
    assert "stopped at Hugging Face" in message(service, job)
    assert "Resume" in message(service, job)
    assert starts(service, job) == [0, kept.steps]
    assert [j.status.stage for j in hub_jobs(alice)] == ["COMPLETED", "COMPLETED"]
    assert list(alice.list_buckets("alice")) == []
    progress = service.view(job.id, "anna").progress
    assert progress.checkpoint_step == progress.step > kept.steps  # not the last periodic one: the very step
    assert max(p.name for p in run.checkpoints.iterdir()) == f"step-{progress.step:06d}"
    service.resume(job.id, "anna", here=True)
    assert service.view(job.id, "anna").remote is None
    assert service.view(job.id, "anna").place == 1


def process_inside(job: Job) -> psutil.Process:
    """What the Job runs; other tests may run Jobs at the same time."""
    processes = [p.info | {"process": p} for p in psutil.process_iter(["cmdline", "environ"])]
    told = [p for p in processes if job.id in (p["environ"] or {}).get("STUDIO_REMOTE", "")]
    (inside,) = [p["process"] for p in told if (p["cmdline"] or [])[-2:] == COMMAND[-2:]]
    return inside
