"""The treasurer as a process beside a real supervisor: it survives kills, and holds on to money and results."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from jobs.money.space_state import Release, ReleaseStage, read_state, write_state
from jobs.record.bill import Bill, read_bill, write_bill
from jobs.record.job_file import JobFile
from jobs.record.publications import Publication, PublicationState, PublicationStore
from jobs.record.state import JobState
from jobs.record.store import Job, new_job_id, now, open_engine
from jobs.service import JobService
from tests.command import run_module
from tests.hub.accounts import ALICE
from tests.hub.local_hub import LocalHub
from tests.jobs.finished_run import write_finished_run
from tests.jobs.money.space_fixtures import STUDIO, make_space, requests_for
from tests.jobs.processes import jobs_process, supervisor
from tests.waiting import PATIENCE_S, wait_until
from trainer.artifact import read_manifest
from trainer.machine.locks import Holder, lock_holder, this_machine
from trainer.settings import Settings

Client = Callable[[str | None], HfApi]
Submit = Callable[..., Job]


@pytest.fixture(autouse=True)
def space(client: Client) -> None:
    make_space(client(ALICE))


@contextmanager
def treasurer(settings: Settings, hub: LocalHub) -> Generator[subprocess.Popen[bytes]]:
    space = {"SPACE_ID": STUDIO, "SYSTEM": "spaces"}
    environment = {**hub.environment(settings.home / "hf", token=ALICE), **space}
    with jobs_process("treasurer", settings.home, **environment) as process:
        yield process
    assert "Traceback" not in (settings.home / "treasurer.log").read_text()


def stage(settings: Settings) -> ReleaseStage | None:
    state = read_state(settings.home)
    return state.release.stage if state else None


def settle(settings: Settings) -> None:
    """A minute has passed in which nothing was in the way."""
    state = read_state(settings.home)
    assert state is not None
    release = Release(stage=ReleaseStage.settling, since=time.time() - 61)
    write_state(settings.home, state.model_copy(update={"release": release}))


def test_job_at_its_limit_is_stopped_kept_and_never_released_unpublished(
    settings: Settings, hub: LocalHub, service: JobService, submit: Submit
) -> None:
    """The treasurer is killed again and again; what the job ran meanwhile counts all the same."""
    job = submit(steps=3000, preview_every_steps=0)
    run = service.run_folder(job.id)
    with treasurer(settings, hub):
        wait_until(lambda: (state := read_state(settings.home)) is not None and state.usd_per_hour is not None)
    with supervisor(settings.home):
        wait_until(lambda: service.view(job.id, "anna").progress.step > 5)
        write_bill(run, Bill(limit_usd=0.4 / 3600, release=True))
        with treasurer(settings, hub):
            wait_until(lambda: service.view(job.id, "anna").job.state is not JobState.running)
        wait_until(lambda: service.view(job.id, "anna").job.state is JobState.stopped)
    assert read_manifest(run.artifact).steps < 3000
    with treasurer(settings, hub):
        wait_until(lambda: (bill := read_bill(run)) is not None and not bill.running)
        wait_until(lambda: stage(settings) is ReleaseStage.kept)
        wait_until(lambda: requests_for(hub, "sleeptime"))
    bill = read_bill(run)
    assert bill is not None
    assert bill.at_limit
    ended = service.view(job.id, "anna").job
    assert ended.started is not None
    assert ended.ended is not None
    assert bill.seconds == pytest.approx(ended.ended - ended.started, abs=0.1)
    assert not requests_for(hub, "hardware")


def test_kill_while_the_hub_is_being_asked_gives_back_once(
    settings: Settings, hub: LocalHub, client: Client, service: JobService, photo_folder: Path
) -> None:
    job_id = new_job_id()
    run = write_finished_run(settings.runs_dir / job_id, photo_folder)
    file = JobFile(id=job_id, owner="anna", title="red-mug", state=JobState.finished, created=now())
    run.job_file.write_text(file.model_dump_json())
    assert service.rebuild() == 1
    write_bill(run, Bill(flavor="t4-small", release=True))
    with treasurer(settings, hub):
        wait_until(lambda: stage(settings) is ReleaseStage.kept)
    published = Publication(job_id, "alice/red-mug", private=True, state=PublicationState.published)
    PublicationStore(open_engine(settings.jobs_database_url)).put(published, run)
    with treasurer(settings, hub):
        wait_until(lambda: stage(settings) is ReleaseStage.settling)
    settle(settings)
    hub.order_fault(f"POST .*{STUDIO}/hardware", hang_s=60)
    with treasurer(settings, hub):
        wait_until(lambda: requests_for(hub, "hardware"))
    assert stage(settings) is ReleaseStage.asked
    with treasurer(settings, hub):
        wait_until(lambda: stage(settings) is ReleaseStage.done)
    assert client(ALICE).get_space_runtime(STUDIO).requested_hardware == "cpu-basic"
    assert len(requests_for(hub, "hardware")) == 2  # the first was killed before the Hub did anything
    for file in [f for f in settings.home.rglob("*") if f.is_file()]:
        assert ALICE.encode() not in file.read_bytes(), file


@pytest.mark.fault(27)
def test_sigterm_ends_it_at_once_even_while_the_hub_stalls(settings: Settings, hub: LocalHub) -> None:
    hub.order_fault(f"/api/spaces/{STUDIO}/", hang_s=60)
    with treasurer(settings, hub) as process:
        wait_until(lambda: any(STUDIO in request.path for request in hub.requests() if request.method == "GET"))
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def test_second_treasurer_of_a_data_root_refuses(settings: Settings, hub: LocalHub) -> None:
    with treasurer(settings, hub) as first:
        lock = settings.runtime_dir / "treasurer.lock"
        wait_until(lambda: lock_holder(lock) == Holder(first.pid, this_machine()))
        with treasurer(settings, hub) as second:
            assert second.wait(PATIENCE_S) == 2
    assert f"already served by pid {first.pid}" in (settings.home / "treasurer.log").read_text()


def test_machine_that_is_no_space_has_no_treasurer(tmp_path: Path) -> None:
    result = run_module("jobs", "treasurer", STUDIO_HOME=str(tmp_path))
    assert result.returncode == 2
    assert "Only a Space" in result.stderr
