"""Concepts from elsewhere as jobs: looked over before they are queued, carried out by the supervisor, owned."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from huggingface_hub import HfApi
from PIL import Image

from jobs.hub.tokens import TokenDesk, fetching_tokens, token_socket
from jobs.open import open_service
from jobs.publishing.publish import publish
from jobs.publishing.repository import repository_files
from jobs.record.job_file import read_job_file
from jobs.record.run_summary import finished_words
from jobs.record.state import JobState
from jobs.record.store import SINGLE_OWNER, Job, new_job_id
from jobs.service import JobService
from jobs.submission.bringing_in import Bringing, Importer
from jobs.submission.caps import MAX_OPEN_PER_OWNER
from jobs.submission.preflight import BaseChecker
from tests import ROOT
from tests.hub.accounts import ALICE, BOB
from tests.hub.local_hub import LocalHub
from tests.jobs.imports import about, upload
from tests.jobs.processes import supervisor
from tests.waiting import PATIENCE_S, wait_until
from trainer.artifact import read_manifest
from trainer.engine.base import hub_patience
from trainer.engine.context import RunContext
from trainer.engine.imports.run import carry_out
from trainer.errors import HubError, RequestError, StudioError
from trainer.events import Warned, read_events
from trainer.imports.task import prepare_task
from trainer.machine.process import GRACE_S, StopSignal
from trainer.recipe.choices import Method
from trainer.run_folder import RunFolder
from trainer.settings import Settings


def _said_by_its_file(service: JobService, job_id: str) -> JobState | None:
    file = read_job_file(service.run_folder(job_id))
    return file and file.state


def test_file_becomes_a_job_that_lives_like_any_other(
    service: JobService, settings: Settings, importer: Importer, embedding: Path, tiny_model: Path
) -> None:
    bringing = importer.judge_file(about(tiny_model), embedding, shown_name=embedding.name)
    job = service.submitting.submit_task("anna", bringing.task, bringing.file)
    assert (job.state, job.method, job.steps) == (JobState.waiting, "textual-inversion", 0)
    with supervisor(settings.home):  # the file is written after the row
        wait_until(lambda: _said_by_its_file(service, job.id) is JobState.finished)
    job = service.job(job.id, "anna")
    assert (job.state, job.message) == (JobState.finished, "Imported from my style.safetensors, and verified.")
    with pytest.raises(RequestError):
        service.delete(job.id, "bert")
    run = service.run_folder(job.id)
    with Image.open(run.preview_file(0, 0)) as picture:  # what the Library shows of it
        assert picture.getextrema() != ((0, 0),) * 3
    service._store.delete(job.id)
    assert service.rebuild() == 1
    restored = service.job(job.id, "anna")
    assert (restored.state, restored.name, restored.method) == (JobState.finished, "red-mug", "textual-inversion")
    assert service.views("anna")[0].progress.seconds is not None
    service.delete(job.id, "anna")
    assert not run.root.exists()


@pytest.mark.parametrize("deep_in_a_computation", [False, True])
def test_cancel_ends_it_at_once_and_leaves_nothing_half_written(
    service: JobService,
    settings: Settings,
    importer: Importer,
    embedding: Path,
    tiny_model: Path,
    deep_in_a_computation: bool,
) -> None:
    """A process that stands still takes no signal, as one inside a long call into a library."""
    bringing = importer.judge_file(about(tiny_model), embedding, shown_name=embedding.name)
    job = service.submitting.submit_task("anna", bringing.task, bringing.file)
    run = service.run_folder(job.id)
    (run.root / ".artifact.rest").mkdir()
    with supervisor(settings.home):
        wait_until(run.holder)
        with pytest.raises(RequestError, match="nothing to keep"):
            service.stop_and_keep(job.id, "anna")
        if deep_in_a_computation:
            holder = run.holder()
            assert holder is not None
            os.kill(holder.pid, signal.SIGSTOP)
        asked = time.monotonic()
        service.cancel(job.id, "anna")
        wait_until(lambda: not service.job(job.id, "anna").is_open)
        assert time.monotonic() - asked < GRACE_S - 2  # 2 where the machine has nothing else to do
    job = service.job(job.id, "anna")
    assert (job.state, job.message) == (JobState.cancelled, "Cancelled.")
    assert not list(run.root.glob(".artifact.*"))
    assert not run.artifact.exists()
    assert run.source.exists()  # for Resume


@pytest.fixture
def take_in(tmp_path: Path) -> Callable[[Bringing], RunFolder]:
    """Carries an import out in this process, as the supervisor's child does."""

    def call(bringing: Bringing) -> RunFolder:
        run = prepare_task(tmp_path / "runs" / new_job_id(), bringing.task, bringing.file)
        carry_out(run, RunContext(run.events, StopSignal(), tmp_path / "bases"))
        return run

    return call


def test_file_may_be_refused_later_than_it_was_judged(
    importer: Importer, tiny_model: Path, tmp_path: Path, take_in: Callable[[Bringing], RunFolder]
) -> None:
    torch.save({"string_to_param": {"*": torch.zeros(2, 768)}}, tmp_path / "old.pt")
    bringing = importer.judge_file(about(tiny_model), tmp_path / "old.pt", shown_name="old.pt")
    with pytest.raises(StudioError, match=r"768 numbers wide.*Stable Diffusion 1\.x"):
        take_in(bringing)


def test_concepts_of_the_hub_come_in_and_go_out_again(
    hub: LocalHub,
    alice: HfApi,
    importer: Importer,
    embedding: Path,
    tiny_model: Path,
    take_in: Callable[[Bringing], RunFolder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An embedding, and a whole model in diffusers format; then the embedding is published, and comes back."""
    monkeypatch.setenv("HF_TOKEN", ALICE)  # what is published is private
    upload(alice, "alice/style", learned_embeds__safetensors=embedding)
    alice.create_repo("alice/model")
    alice.upload_folder(repo_id="alice/model", folder_path=tiny_model)
    style, whole = (take_in(importer.judge_hub(about(tiny_model, source))) for source in ("alice/style", "alice/model"))
    assert finished_words(style) == "Imported from alice/style/learned_embeds.safetensors, and verified."
    assert finished_words(whole) == "Imported from alice/model, and verified."
    model = read_manifest(whole.artifact)
    assert model.method is Method.dreambooth
    assert model.origin is not None
    assert len(model.origin.revision or "") == 40

    published = publish(style, "alice/red-mug", ALICE)
    assert importer.publications(ALICE) == ["alice/red-mug"]
    assert importer.publications(BOB) == []
    back = take_in(importer.judge_hub(about(tiny_model, "alice/red-mug", class_word="dog", kind="pet")))
    ours, theirs = read_manifest(style.artifact), read_manifest(back.artifact)
    assert {f.path: f.sha256 for f in ours.files} == {f.path: f.sha256 for f in theirs.files}
    assert theirs.origin is not None
    assert theirs.origin.revision == published.commit
    assert (theirs.kind, theirs.class_word) == (ours.kind, ours.class_word) != ("pet", "dog")


@pytest.mark.fault(26)
def test_import_waits_for_a_hub_that_is_away(
    hub: LocalHub,
    alice: HfApi,
    importer: Importer,
    embedding: Path,
    tiny_model: Path,
    take_in: Callable[[Bringing], RunFolder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_patience, "_PAUSE_S", 0.01)
    upload(alice, "alice/style", learned_embeds__safetensors=embedding)
    bringing = importer.judge_hub(about(tiny_model, "alice/style"))
    hub.order_fault("GET /api/models/alice/style", times=3, status=503)
    run = take_in(bringing)
    assert run.artifact.is_dir()
    assert [e.text for e in read_events(run.events_file) if isinstance(e, Warned)] == [
        "The Hub is away (it answered 503). It is asked again until it is back, for 30 min 00 s at most."
    ]


def test_private_concept_comes_in_with_the_token_of_who_asks_and_of_nobody_else(
    hub: LocalHub,
    alice: HfApi,
    service: JobService,
    settings: Settings,
    embedding: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a shared page, whose machine has a token of its own that is never used for a visitor."""
    alice.create_repo("alice/secret-style", private=True)
    upload(alice, "alice/secret-style", learned_embeds__safetensors=embedding)
    for name, value in {**hub.environment(tmp_path / "hf", token=BOB), "STUDIO_OWNERS": "browser"}.items():
        monkeypatch.setenv(name, value)
    importer, wish = Importer(BaseChecker(None), None), about(tiny_model, "alice/secret-style")
    for stranger in (None, BOB):
        with pytest.raises(HubError):
            importer.judge_hub(wish, stranger)
    task = importer.judge_hub(wish, ALICE).task
    desk = TokenDesk(settings.runtime_dir, None, ["cpu"])
    with pytest.raises(RequestError, match="The supervisor is starting"):
        desk.hand_over_for_fetching("anna", ALICE)
    with supervisor(settings.home):
        wait_until(token_socket(settings.runtime_dir, fetching_tokens("cpu")).exists)
        desk.hand_over_for_fetching("anna", ALICE)
        theirs, others = (service.submitting.submit_task(owner, task) for owner in ("anna", "bert"))
        run = service.run_folder(theirs.id)
        wait_until(run.holder)
        holder = run.holder()
        assert holder is not None
        child = psutil.Process(holder.pid)
        told, environment = child.cmdline(), child.environ()
        assert "--token-from-parent" in told
        assert not [text for text in (*told, *environment.values()) if ALICE in text or BOB in text]
        for job in (theirs, others):
            wait_until(lambda job=job: not service.job(job.id, job.owner).is_open)
    assert service.job(theirs.id, "anna").message == (
        "Imported from alice/secret-style/learned_embeds.safetensors, and verified."
    )
    refused = service.job(others.id, "bert")
    assert refused.state is JobState.failed
    assert "or it is private: then sign in or give a token, and resume." in refused.message
    assert not run.download.exists()
    assert not list((tmp_path / "hf").rglob("learned_embeds.safetensors"))  # what others share holds nothing of it
    for file in [file for file in settings.home.rglob("*") if file.is_file()]:
        assert ALICE.encode() not in file.read_bytes(), file


def test_card_of_an_import_says_where_it_is_from(
    importer: Importer, embedding: Path, tiny_model: Path, take_in: Callable[[Bringing], RunFolder]
) -> None:
    run = take_in(importer.judge_file(about(tiny_model), embedding, shown_name=embedding.name))
    files = repository_files(run, "alice/red-mug", base_licence=None)
    card = files["README.md"].source
    assert isinstance(card, bytes)
    text = card.decode()
    assert "Imported from `my style.safetensors`" in text
    assert "not trained by this app" in text
    assert "| before | after |" not in text
    assert "samples/after-1.png" in text
    assert "samples/after-1.png" in files
    assert "samples/before-1.png" not in files
    assert str(tiny_model.parent) not in text


def test_large_file_that_is_being_copied_holds_up_no_other_press(
    service: JobService,
    submit: Callable[..., Job],
    importer: Importer,
    embedding: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bringing = importer.judge_file(about(tiny_model), embedding, shown_name=embedding.name)
    copying, go_on = threading.Event(), threading.Event()

    def slowly(*how: Any) -> RunFolder:
        copying.set()
        assert go_on.wait(PATIENCE_S)
        return prepare_task(*how)

    monkeypatch.setattr("jobs.submission.submitting.prepare_task", slowly)
    with ThreadPoolExecutor(2) as others:
        coming = others.submit(service.submitting.submit_task, "anna", bringing.task, bringing.file)
        copying.wait(PATIENCE_S)
        try:
            jobs = [others.submit(submit, "anna").result(PATIENCE_S) for _ in range(MAX_OPEN_PER_OWNER)]
        finally:
            go_on.set()
        with pytest.raises(RequestError, match="wait for one to end"):  # there was room when it began
            coming.result()
    assert {run.name for run in service.runs_dir.iterdir()} == {job.id for job in jobs}


@pytest.mark.slow  # quick: the ones above; tests/jobs/supervisor/test_supervisor.py for the command line
def test_command_line_queues_and_refuses(settings: Settings, embedding: Path, tiny_model: Path) -> None:
    def command(*arguments: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "STUDIO_HOME": str(settings.home)}
        program = [sys.executable, "-m", "jobs", *map(str, arguments)]
        return subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)

    queued = command("import", embedding, "--name", "red-mug", "--base", tiny_model)
    assert queued.returncode == 0, queued.stderr
    service = open_service(settings)
    (view,) = service.views(SINGLE_OWNER)
    service.close()
    assert (view.job.name, view.job.state) == ("red-mug", JobState.waiting)
    refused = command("import", "no/such/thing", "--name", "red-mug", "--base", tiny_model)
    assert refused.returncode == 2
    assert "neither a file nor a Hub id" in refused.stderr
    no_model = command("extract", view.job.id, "--rank", 4)
    assert no_model.returncode == 2
    shown = json.loads(command("show", view.job.id, "--json").stdout)
    assert (shown["state"], shown["where"], shown["machine"]) == ("waiting", "this machine", None)
    (line,) = command("list").stdout.splitlines()
    assert "  waiting    this machine       red-mug (textual-inversion)  1 in line" in line
