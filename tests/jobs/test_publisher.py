"""The publisher as a process: tokens in its memory alone, and every publication settled whatever happens to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from jobs.job_file import JobFile
from jobs.publications import Publication, PublicationState
from jobs.publisher import after_trouble
from jobs.service import JobService
from jobs.state import JobState
from jobs.store import new_job_id, now
from jobs.tokens import TokenDesk, token_socket
from tests import ROOT
from tests.hub.accounts import ALICE, BOB, EXPIRED
from tests.hub.faults import FOREVER
from tests.hub.local_hub import LocalHub
from tests.jobs.finished_run import write_finished_run
from tests.waiting import wait_until
from trainer.errors import HubError, HubTrouble, RequestError
from trainer.settings import Settings

Client = Callable[[str | None], HfApi]
MUG = "alice/red-mug"


def takes_handovers(settings: Settings) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        return connection.connect_ex(str(token_socket(settings.runtime_dir))) == 0


@contextmanager
def publisher(settings: Settings, hub: LocalHub) -> Generator[subprocess.Popen[bytes]]:
    """A publisher over the data root, pointed at the local Hub, that takes handovers already."""
    settings.runtime_dir.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **hub.environment(settings.home / "hf"), "STUDIO_HOME": str(settings.home)}
    with (settings.home / "publisher.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs", "publisher"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: takes_handovers(settings))
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def job(service: JobService, settings: Settings, photo_folder: Path) -> str:
    """A finished job of anna."""
    job_id = new_job_id()
    run = write_finished_run(settings.runs_dir / job_id, photo_folder)
    file = JobFile(id=job_id, owner="anna", title="red-mug", state=JobState.finished, created=now())
    run.job_file.write_text(file.model_dump_json())
    assert service.rebuild() == 1
    return job_id


@pytest.fixture
def desk(settings: Settings) -> TokenDesk:
    return TokenDesk(settings.runtime_dir, None)


def state(service: JobService, job: str) -> PublicationState | None:
    publication = service.publishing.of(job)
    return publication.state if publication else None


def note(service: JobService, job: str) -> str:
    publication = service.publishing.of(job)
    assert publication is not None
    return publication.note


@pytest.mark.fault(59)
def test_finished_job_is_published_with_its_owners_token(
    hub: LocalHub, client: Client, service: JobService, settings: Settings, job: str, desk: TokenDesk
) -> None:
    with publisher(settings, hub):
        desk.hand_over("anna", ALICE)
        service.publishing.ask(job, "anna", MUG, private=True)
        wait_until(lambda: state(service, job) is PublicationState.published)
    publication = service.publishing.of(job)
    assert publication is not None
    assert publication.url == f"{hub.url}/{MUG}"
    assert publication.commit == client(ALICE).model_info(MUG).sha
    for file in [f for f in settings.home.rglob("*") if f.is_file()]:
        assert ALICE.encode() not in file.read_bytes(), file


@pytest.mark.fault(30)
def test_without_a_token_it_waits_for_a_sign_in_and_goes_on_after_it(
    hub: LocalHub, service: JobService, settings: Settings, job: str, desk: TokenDesk
) -> None:
    with publisher(settings, hub):
        service.publishing.ask(job, "anna", MUG, private=True)
        wait_until(lambda: state(service, job) is PublicationState.needs_sign_in)
        assert note(service, job) == "Trained and verified. Sign in again to publish."
        desk.hand_over("bert", ALICE)  # somebody else's token is no help
        service.publishing.retry(job, "anna")
        wait_until(lambda: state(service, job) is PublicationState.needs_sign_in)
        desk.hand_over("anna", EXPIRED)
        service.publishing.retry(job, "anna")
        wait_until(lambda: state(service, job) is PublicationState.needs_sign_in)
        desk.hand_over("anna", ALICE)
        service.publishing.retry(job, "anna")
        wait_until(lambda: state(service, job) is PublicationState.published)


@pytest.mark.fault(5)
def test_kill_in_the_middle_is_made_good_by_the_next_start(
    hub: LocalHub, client: Client, service: JobService, settings: Settings, job: str, desk: TokenDesk
) -> None:
    hub.order_fault("POST .*/commit/", hang_s=30)
    with publisher(settings, hub) as process:
        desk.hand_over("anna", ALICE)
        service.publishing.ask(job, "anna", MUG, private=True)
        wait_until(lambda: any("/commit/" in request.path for request in hub.requests()))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert state(service, job) is PublicationState.running
    with publisher(settings, hub):
        desk.hand_over("anna", ALICE)
        wait_until(lambda: state(service, job) is not PublicationState.running)
        service.publishing.retry(job, "anna")
        wait_until(lambda: state(service, job) is PublicationState.published)
    assert len(client(ALICE).list_repo_commits(MUG)) == 2


@pytest.mark.fault(26)
def test_hub_that_is_down_is_tried_again_later(
    hub: LocalHub, service: JobService, settings: Settings, job: str, desk: TokenDesk
) -> None:
    hub.order_fault("repos/create", times=FOREVER, status=503)
    with publisher(settings, hub):
        desk.hand_over("anna", ALICE)
        service.publishing.ask(job, "anna", MUG, private=True)
        wait_until(lambda: note(service, job))
        assert "(503)" in note(service, job)
        assert "Nothing is lost." in note(service, job)
        assert state(service, job) is PublicationState.waiting
        hub.clear_faults()
        service.publishing.retry(job, "anna")
        wait_until(lambda: state(service, job) is PublicationState.published)


def test_sigterm_ends_it_at_once(hub: LocalHub, settings: Settings, service: JobService) -> None:
    with publisher(settings, hub) as process:
        process.terminate()
        assert process.wait(10) == 0


def test_second_publisher_of_a_data_root_refuses(hub: LocalHub, settings: Settings, service: JobService) -> None:
    environment = {**os.environ, "STUDIO_HOME": str(settings.home)}
    with publisher(settings, hub) as first:
        second = subprocess.run(
            [sys.executable, "-m", "jobs", "publisher"], cwd=ROOT, env=environment, capture_output=True, text=True
        )
    assert second.returncode == 2
    assert str(first.pid) in second.stderr


def test_handover_without_a_publisher_is_refused(desk: TokenDesk) -> None:
    with pytest.raises(RequestError, match="try again"):
        desk.hand_over("anna", ALICE)


def test_others_can_neither_publish_nor_retry(service: JobService, job: str) -> None:
    with pytest.raises(RequestError, match="no such job"):
        service.publishing.ask(job, "bert", MUG, private=True)
    with pytest.raises(RequestError, match="no such job"):
        service.publishing.retry(job, "bert")


def test_rows_come_back_from_the_files(service: JobService, settings: Settings, job: str) -> None:
    asked = service.publishing.ask(job, "anna", MUG, private=False)
    service.publishing.forget(job)
    assert service.publishing.of(job) is None
    service.publishing.restore(service.run_folder(job))
    assert service.publishing.of(job) == asked


def test_each_trouble_has_its_own_end() -> None:
    publication = Publication("job", MUG, private=True)
    later = after_trouble(publication, HubError("The Hub asks.", HubTrouble.later, retry_after_s=7200))
    assert later.state is PublicationState.waiting
    assert later.next_try > now() + 7000
    assert after_trouble(replace(publication, tries=99), HubError("x", HubTrouble.later)).next_try < now() + 1900
    ends = {t: after_trouble(publication, HubError("No.", t)).state for t in HubTrouble if t is not HubTrouble.later}
    assert ends.pop(HubTrouble.sign_in) is PublicationState.needs_sign_in
    assert set(ends.values()) == {PublicationState.failed}


def test_command_line_publishes_with_the_machines_token(
    hub: LocalHub, client: Client, settings: Settings, service: JobService, job: str
) -> None:
    def command(token: str | None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **hub.environment(settings.home / "hf", token=token)}
        return subprocess.run(
            [sys.executable, "-m", "jobs", "publish", job],
            cwd=ROOT,
            env={**environment, "STUDIO_HOME": str(settings.home)},
            capture_output=True,
            text=True,
        )

    done = command(ALICE)
    assert done.returncode == 0, done.stderr
    assert f"{hub.url}/{MUG}" in done.stdout
    assert client(ALICE).model_info(MUG).private
    refused = command(BOB)  # publishes to bob's own namespace, where it is new
    assert "bob/red-mug" in refused.stdout
    nobody = command(None)
    assert nobody.returncode == 1
    assert "HF_TOKEN" in nobody.stderr
