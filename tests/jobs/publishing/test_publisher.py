"""The publisher as a process: tokens in its memory alone, and every publication settled whatever happens to it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from jobs.__main__ import main
from jobs.hub.tokens import TokenDesk
from jobs.publishing.publisher import after_trouble
from jobs.record.job_file import JobFile
from jobs.record.publications import Publication, PublicationState, PublicationStore
from jobs.record.state import JobState
from jobs.record.store import Job, new_job_id, now, open_engine
from jobs.service import JobService
from tests.command import run_module
from tests.hub.accounts import ALICE, BOB, EXPIRED
from tests.hub.faults import FOREVER, RequestRecord
from tests.hub.local_hub import LocalHub
from tests.jobs.finished_run import write_finished_run
from tests.jobs.processes import publisher, supervisor
from tests.waiting import PATIENCE_S, wait_until
from trainer.artifact import check_hashes, read_manifest
from trainer.errors import EXIT_REQUEST, HubError, HubTrouble, RequestError
from trainer.events import Finished, Started, Step, read_events
from trainer.run_folder import MANIFEST_FILE
from trainer.settings import Settings

Client = Callable[[str | None], HfApi]
MUG = "alice/red-mug"


@pytest.fixture
def make_job(service: JobService, settings: Settings, photo_folder: Path) -> Callable[[], str]:
    """Makes finished jobs of anna."""

    def make() -> str:
        job_id = new_job_id()
        run = write_finished_run(settings.runs_dir / job_id, photo_folder)
        file = JobFile(id=job_id, owner="anna", title="red-mug", state=JobState.finished, created=now())
        run.job_file.write_text(file.model_dump_json())
        assert service.rebuild() == 1
        return job_id

    return make


@pytest.fixture
def job(make_job: Callable[[], str]) -> str:
    """A finished job of anna."""
    return make_job()


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


def commit_requests(hub: LocalHub) -> list[RequestRecord]:
    return [request for request in hub.requests() if "/commit/" in request.path]


def published_files(api: HfApi) -> set[str]:
    return set(api.list_repo_files(MUG))


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
        assert note(service, job) == "Trained and verified. Publish it again with a token that may write."
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
        wait_until(lambda: commit_requests(hub))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert state(service, job) is PublicationState.running
    with publisher(settings, hub):
        desk.hand_over("anna", ALICE)
        wait_until(lambda: state(service, job) is not PublicationState.running)
        service.publishing.retry(job, "anna")
        wait_until(lambda: state(service, job) is PublicationState.published)
    assert len(client(ALICE).list_repo_commits(MUG)) == 2


@pytest.mark.fault(4)
def test_kill_between_training_and_publishing_trains_nothing_again(
    hub: LocalHub, service: JobService, settings: Settings, submit: Callable[..., Job], desk: TokenDesk
) -> None:
    job = submit()
    service.publishing.ask(job.id, "anna", MUG, private=True)
    events = service.run_folder(job.id).events_file
    with supervisor(settings.home) as first:
        wait_until(lambda: any(isinstance(event, Finished) for event in read_events(events)))
        first.kill()
        first.wait()
    assert state(service, job.id) is PublicationState.waiting
    with supervisor(settings.home), publisher(settings, hub):
        desk.hand_over("anna", ALICE)
        wait_until(lambda: state(service, job.id) is PublicationState.published)
    assert sum(isinstance(event, Started) for event in read_events(events)) == 1
    assert [event.step for event in read_events(events) if isinstance(event, Step)] == list(range(1, job.steps + 1))


@pytest.mark.fault(12)
def test_cancel_of_a_job_that_is_being_published_changes_nothing(
    hub: LocalHub, client: Client, service: JobService, settings: Settings, job: str, desk: TokenDesk
) -> None:
    hub.order_fault("POST .*/commit/", hang_s=60)
    with publisher(settings, hub):
        desk.hand_over("anna", ALICE)
        service.publishing.ask(job, "anna", MUG, private=True)
        wait_until(lambda: commit_requests(hub))
        service.cancel(job, "anna")
        assert commit_requests(hub)[0].status is None
        hub.clear_faults()
        wait_until(lambda: state(service, job) is PublicationState.published)
    assert service.job(job, "anna").state is JobState.finished
    artifact = service.run_folder(job).artifact
    check_hashes(artifact, read_manifest(artifact))
    assert {file.path for file in read_manifest(artifact).files} < published_files(client(ALICE))


@pytest.mark.fault(12)
def test_job_that_is_deleted_while_it_is_published_is_whole_there_and_gone_here(
    hub: LocalHub, client: Client, service: JobService, settings: Settings, job: str, desk: TokenDesk
) -> None:
    run = service.run_folder(job)
    files = {file.path for file in read_manifest(run.artifact).files}
    hub.order_fault("POST .*/commit/", hang_s=60)
    with publisher(settings, hub):
        desk.hand_over("anna", ALICE)
        service.publishing.ask(job, "anna", MUG, private=True)
        wait_until(lambda: commit_requests(hub))
        service.delete(job, "anna")
        assert commit_requests(hub)[0].status is None
        hub.clear_faults()
        wait_until(lambda: [r for r in hub.requests() if r.status and "/tree/" in r.path][1:], "it is compared again")
    assert files < published_files(client(ALICE))
    assert not run.root.exists()
    assert state(service, job) is None


@pytest.mark.fault(12)
def test_cancelled_job_is_published_only_when_it_was_resumed_and_done(
    hub: LocalHub, service: JobService, settings: Settings, make_job: Callable[[], str], desk: TokenDesk
) -> None:
    cancelled, other = make_job(), make_job()
    manifest = service.run_folder(cancelled).artifact / MANIFEST_FILE
    service.publishing.ask(cancelled, "anna", MUG, private=True)
    manifest.rename(manifest.with_suffix(".later"))
    with publisher(settings, hub):
        desk.hand_over("anna", ALICE)
        service.publishing.ask(other, "anna", "alice/other", private=True)
        wait_until(lambda: state(service, other) is PublicationState.published)
        assert state(service, cancelled) is PublicationState.waiting
        assert note(service, cancelled) == ""
        manifest.with_suffix(".later").rename(manifest)
        wait_until(lambda: state(service, cancelled) is PublicationState.published)


@pytest.mark.fault(29)
def test_one_that_the_hub_asks_to_wait_holds_up_no_other(
    hub: LocalHub, service: JobService, settings: Settings, make_job: Callable[[], str], desk: TokenDesk
) -> None:
    late, other = make_job(), make_job()
    hub.order_fault("POST .*/red-mug/commit/", status=429, headers={"Retry-After": "3600"})
    with publisher(settings, hub):
        desk.hand_over("anna", ALICE)
        service.publishing.ask(late, "anna", MUG, private=True)
        wait_until(lambda: note(service, late))
        service.publishing.ask(other, "anna", "alice/other", private=True)
        wait_until(lambda: state(service, other) is PublicationState.published)
    assert "The Hub asks to wait 1 h 00 min." in note(service, late)
    assert "Nothing is lost." in note(service, late)
    publication = service.publishing.of(late)
    assert publication is not None
    assert publication.next_try > now() + 3000


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


def test_second_publisher_of_a_data_root_refuses_and_sigterm_ends_the_first(
    hub: LocalHub, settings: Settings, service: JobService
) -> None:
    with publisher(settings, hub) as first:
        second = run_module("jobs", "publisher", STUDIO_HOME=str(settings.home))
        first.terminate()
        assert first.wait(PATIENCE_S) == 0
    assert second.returncode == 2
    assert str(first.pid) in second.stderr


def test_handover_without_a_publisher_is_refused(desk: TokenDesk) -> None:
    with pytest.raises(RequestError, match="try again"):
        desk.hand_over("anna", ALICE)


@pytest.mark.fault(12)
def test_wish_to_publish_is_taken_back_for_good_until_somebody_works_on_it(
    service: JobService, settings: Settings, job: str
) -> None:
    store, run = PublicationStore(open_engine(settings.jobs_database_url)), service.run_folder(job)
    for found in (PublicationState.waiting, PublicationState.needs_sign_in, PublicationState.failed):
        asked = service.publishing.ask(job, "anna", MUG, private=True)
        store.put(replace(asked, state=found), run)
        service.publishing.withdraw(job, "anna")
        service.publishing.restore(run)
        assert service.publishing.of(job) is None
    asked = service.publishing.ask(job, "anna", MUG, private=True)
    again = service.publishing.ask(job, "anna", "alice/blue-mug", private=False)
    assert store.claim(asked.job_id) == replace(again, state=PublicationState.running)  # as it is wished for now
    assert store.claim(asked.job_id) is None
    with pytest.raises(RequestError, match="not waiting to be published any more"):
        service.publishing.withdraw(job, "anna")
    assert state(service, job) is PublicationState.running


@pytest.mark.parametrize("wish", ["ask", "retry"])
def test_publication_that_is_taken_up_while_it_is_wished_for_is_carried_out_once(
    service: JobService, settings: Settings, job: str, monkeypatch: pytest.MonkeyPatch, wish: str
) -> None:
    store = PublicationStore(open_engine(settings.jobs_database_url))
    claims = list[Publication | None]()
    find = PublicationStore.find

    def find_and_be_overtaken(looking: PublicationStore, job_id: str) -> Publication | None:
        found = find(looking, job_id)
        claims.append(store.claim(job_id))
        return found

    service.publishing.ask(job, "anna", MUG, private=True)
    monkeypatch.setattr(PublicationStore, "find", find_and_be_overtaken)
    if wish == "ask":
        service.publishing.ask(job, "anna", "alice/blue-mug", private=True)
    else:
        service.publishing.retry(job, "anna")
    claims.append(store.claim(job))
    assert len([claim for claim in claims if claim is not None]) == 1
    service.publishing.retry(job, "anna")  # in work, it stays as it is
    with pytest.raises(RequestError, match="being published right now"):
        service.publishing.ask(job, "anna", "alice/green-mug", private=True)
    assert store.claim(job) is None


def test_others_can_neither_publish_nor_retry(service: JobService, job: str) -> None:
    with pytest.raises(RequestError, match="no such job"):
        service.publishing.withdraw(job, "bert")
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


@pytest.mark.fault(30)
def test_token_of_the_machine_that_a_later_start_brings_is_enough(
    hub: LocalHub, service: JobService, settings: Settings, job: str
) -> None:
    with publisher(settings, hub):
        service.publishing.ask(job, "anna", MUG, private=True)
        wait_until(lambda: state(service, job) is PublicationState.needs_sign_in)
    with publisher(settings, hub, HF_TOKEN=ALICE):
        wait_until(lambda: state(service, job) is PublicationState.published)


def test_each_trouble_has_its_own_end() -> None:
    publication = Publication("job", MUG, private=True)
    end = partial(after_trouble, can_sign_in=True)
    later = end(publication, HubError("The Hub asks.", HubTrouble.later, retry_after_s=7200))
    assert later.state is PublicationState.waiting
    assert later.next_try > now() + 7000
    assert end(replace(publication, tries=99), HubError("x", HubTrouble.later)).next_try < now() + 1900
    ends = {t: end(publication, HubError("No.", t)).state for t in HubTrouble if t is not HubTrouble.later}
    assert ends.pop(HubTrouble.sign_in) is PublicationState.needs_sign_in
    assert set(ends.values()) == {PublicationState.failed}


def test_command_line_publishes_with_the_machines_token(
    hub: LocalHub,
    client: Client,
    service: JobService,
    job: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_TOKEN", ALICE)
    assert main(["publish", job]) == 0
    assert f"{hub.url}/{MUG}" in capsys.readouterr().out
    assert client(ALICE).model_info(MUG).private
    assert main(["publish", job, "--public"]) == 0
    assert not client(None).model_info(MUG).private
    monkeypatch.setenv("HF_TOKEN", BOB)
    assert main(["publish", job]) == 0  # to bob's own namespace, where it is new
    assert "bob/red-mug" in capsys.readouterr().out
    monkeypatch.delenv("HF_TOKEN")
    assert main(["publish", job]) == 1
    assert "HF_TOKEN" in capsys.readouterr().err


@pytest.mark.fault(47)
def test_command_line_refuses_a_name_that_the_hub_does_not_allow(
    job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", ALICE)
    assert main(["publish", job, "--repo", "alice/a--b"]) == EXIT_REQUEST
    assert "does not allow the name 'a--b'" in capsys.readouterr().err
