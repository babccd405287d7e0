"""What can go wrong on the way to Hugging Face: nothing is lost or paid twice, and the card says what happened."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from sqlalchemy.exc import OperationalError

from jobs.hub.tokens import TokenDesk, TokenVault
from jobs.record.remote_run import Stage, read_remote, write_remote
from jobs.record.state import JobState, StopWish
from jobs.record.store import Job
from jobs.remote.trainer import RemoteTrainer
from jobs.service import JobService
from jobs.supervisor.training import Watch
from tests.hub.accounts import ALICE, BOB, TokenKind
from tests.hub.faults import FOREVER
from tests.hub.local_hub import LocalHub
from tests.jobs.finished_run import write_finished_run
from tests.jobs.processes import follower
from tests.jobs.remote.conftest import Client, follow_until_it_is_asked_for, hub_jobs, message
from tests.jobs.watching import LONG, starts, state, step
from tests.waiting import PATIENCE_S, wait_until
from trainer.settings import Settings

Send = Callable[..., Job]
ASK_FOR_A_JOB = "POST /api/jobs/alice"


def asked_for(hub: LocalHub) -> int:
    """How often a Job was asked for."""
    return sum(request.line == ASK_FOR_A_JOB for request in hub.requests())


@pytest.mark.slow  # quick: test_record.py, and the lost answer below
@pytest.mark.fault(34, 35)
def test_killed_follower_finds_its_job_again_and_one_deleted_elsewhere_fails_in_words(
    hub: LocalHub, alice: HfApi, settings: Settings, service: JobService, send: Send, desk: TokenDesk
) -> None:
    job = send(**LONG)
    with follower(settings, hub) as first:
        desk.hand_over_for_training("anna", ALICE)
        wait_until(lambda: step(service, job) > 20)
        first.kill()
        first.wait()
    seen = step(service, job)
    assert state(service, job) is JobState.running
    with follower(settings, hub) as second:
        wait_until(lambda: "Sign in again" in message(service, job))
        desk.hand_over_for_training("anna", ALICE)
        wait_until(lambda: step(service, job) > seen + 20)
        second.terminate()
        assert second.wait(PATIENCE_S) == 0
    assert state(service, job) is JobState.running
    (running,) = hub_jobs(alice)
    assert running.status.stage == "RUNNING"
    hub.end_job(running.id, stage="DELETED")  # while nobody looks
    with follower(settings, hub):
        desk.hand_over_for_training("anna", ALICE)
        wait_until(lambda: state(service, job) is JobState.failed)
    assert "deleted at Hugging Face" in message(service, job)
    assert asked_for(hub) == 1
    assert any(service.run_folder(job.id).checkpoints.iterdir())
    assert list(alice.list_buckets("alice")) == []


@pytest.mark.fault(28, 34)
def test_lost_answer_makes_no_second_job_and_one_that_gets_no_machine_fails_in_words(
    hub: LocalHub, alice: HfApi, settings: Settings, service: JobService, send: Send, desk: TokenDesk
) -> None:
    hub.hold_jobs(held=True)
    hub.order_fault(ASK_FOR_A_JOB, drop=True, after_work=True)
    job = send()
    with follower(settings, hub):
        desk.hand_over_for_training("anna", ALICE)
        said = [""]
        wait_until(lambda: said.append(message(service, job)) or "Waiting for a machine" in said[-1])
        assert any("Nothing is lost" in text for text in said)
        assert asked_for(hub) == 1
        (waiting,) = hub_jobs(alice)
        hub.end_job(waiting.id, stage="ERROR", message="No machine was found")
        wait_until(lambda: state(service, job) is JobState.failed)
    assert "ended without a result" in message(service, job)
    assert "Resume" in message(service, job)
    record = service.remote_run(job.id)
    assert record is not None
    assert record.ran_s(0) == 0  # waiting for a machine costs nothing
    assert list(alice.list_buckets("alice")) == []


@pytest.mark.fault(33)
def test_account_without_credits_is_told_so_and_its_photos_are_taken_back(
    hub: LocalHub, alice: HfApi, client: Client, settings: Settings, service: JobService, send: Send, desk: TokenDesk
) -> None:
    job = send(payer="bob")
    with follower(settings, hub):
        desk.hand_over_for_training("anna", BOB)
        wait_until(lambda: state(service, job) is JobState.failed)
    assert message(service, job).startswith("Your account has no credits for this.")
    assert "on this machine" in message(service, job)
    assert list(client(BOB).list_buckets("bob")) == []


@pytest.mark.fault(30)
def test_token_that_may_not_run_jobs_is_named(
    hub: LocalHub, alice: HfApi, settings: Settings, service: JobService, send: Send, desk: TokenDesk
) -> None:
    job = send()
    with follower(settings, hub):
        desk.hand_over_for_training("anna", hub.new_token(kind=TokenKind.FINE_GRAINED, grants=["repo.write"]))
        wait_until(lambda: state(service, job) is JobState.failed)
    assert "may not run Jobs" in message(service, job)
    assert list(alice.list_buckets("alice")) == []


def test_sign_in_with_the_jobs_scope_is_enough(
    hub: LocalHub, alice: HfApi, settings: Settings, service: JobService, send: Send, desk: TokenDesk
) -> None:
    hub.hold_jobs(held=True)
    job = send()
    token = hub.new_token(kind=TokenKind.OAUTH, grants=["openid", "contribute-repos", "jobs"], app="studio")
    with follower(settings, hub):
        desk.hand_over_for_training("anna", token)
        wait_until(lambda: "Waiting for a machine" in message(service, job))
        service.cancel(job.id, "anna")
        wait_until(lambda: state(service, job) is JobState.cancelled)
    assert list(alice.list_buckets("alice")) == []


@pytest.mark.slow  # quick: the token that may not run Jobs
@pytest.mark.fault(30)
def test_token_that_ends_on_the_way_is_asked_for_again_and_training_goes_on(
    hub: LocalHub, alice: HfApi, settings: Settings, service: JobService, send: Send, desk: TokenDesk
) -> None:
    job = send(**LONG)
    token = hub.new_token()
    with follower(settings, hub):
        desk.hand_over_for_training("anna", token)
        wait_until(lambda: starts(service, job) and has_checkpoint(alice, job))
        hub.revoke(token)
        wait_until(lambda: "Sign in again" in message(service, job))
        wait_until(lambda: hub_jobs(alice)[0].status.stage == "ERROR")  # no use in paying for what cannot come home
        desk.hand_over_for_training("anna", ALICE)
        wait_until(lambda: len(starts(service, job)) == 2)
        service.cancel(job.id, "anna")
        wait_until(lambda: state(service, job) is JobState.cancelled)
    assert starts(service, job)[1] >= 20
    assert [j.status.stage for j in hub_jobs(alice)] == ["CANCELED", "ERROR"]
    assert list(alice.list_buckets("alice")) == []


def has_checkpoint(alice: HfApi, job: Job) -> bool:
    """Whether a whole checkpoint is in the job's bucket."""
    bucket = f"alice/concept-studio-{job.id}"
    is_there = any(found.id == bucket for found in alice.list_buckets("alice"))
    return is_there and any(f.path.endswith("checkpoint.json") for f in alice.list_bucket_tree(bucket, recursive=True))


@pytest.mark.fault(26, 29)
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 503}, "(503)"),
        ({"status": 429, "headers": {"Retry-After": "3600"}}, "asks to wait 1 h 00 min"),
        ({"drop": True}, "cannot be reached"),
    ],
    ids=["down", "busy", "gone"],
)
def test_hub_that_does_not_answer_is_asked_again_and_a_cancel_is_not_forgotten(
    hub: LocalHub,
    alice: HfApi,
    settings: Settings,
    service: JobService,
    send: Send,
    desk: TokenDesk,
    fault: dict[str, object],
    words: str,
) -> None:
    hub.hold_jobs(held=True)
    job = send()
    with follower(settings, hub):
        desk.hand_over_for_training("anna", ALICE)
        wait_until(lambda: "Waiting for a machine" in message(service, job))
        hub.order_fault("GET /api/jobs/alice/", times=FOREVER, **fault)
        wait_until(lambda: words in message(service, job))
        assert "Nothing is lost" in message(service, job)
        assert state(service, job) is JobState.running
        hub.clear_faults()
        service.cancel(job.id, "anna")
        wait_until(lambda: state(service, job) is JobState.cancelled)
    assert hub_jobs(alice)[0].status.stage == "CANCELED"


@pytest.mark.fault(34)
def test_job_that_runs_too_long_is_ended_by_the_hub(
    hub: LocalHub, alice: HfApi, settings: Settings, service: JobService, send: Send, desk: TokenDesk
) -> None:
    job = send(limit_s=1)
    with follower(settings, hub):
        desk.hand_over_for_training("anna", ALICE)
        wait_until(lambda: state(service, job) is JobState.failed)
    assert "time limit of 1 s" in message(service, job)
    assert list(alice.list_buckets("alice")) == []


def test_result_counts_only_when_every_hash_is_right(
    hub: LocalHub,
    alice: HfApi,
    settings: Settings,
    service: JobService,
    send: Send,
    desk: TokenDesk,
    tmp_path: Path,
    photo_folder: Path,
) -> None:
    hub.hold_jobs(held=True)
    job = send()
    artifact = write_finished_run(tmp_path / "run", photo_folder).artifact
    bucket = f"alice/concept-studio-{job.id}"
    good = artifact / "notes.json"
    files = [(str(file), f"artifact/{file.name}") for file in artifact.iterdir() if file != good]
    with follower(settings, hub):
        desk.hand_over_for_training("anna", ALICE)
        wait_until(lambda: hub_jobs(alice))
        bad = [(b"damaged", "artifact/notes.json"), (b"../x", "artifact/../../outside"), (b"{}", "config.json")]
        alice.batch_bucket_files(bucket, add=[*files, *bad, (b'{"exit_code": 0}', "result.json")])
        hub.end_job(hub_jobs(alice)[0].id, stage="COMPLETED")
        wait_until(lambda: "did not arrive whole" in message(service, job))
        assert state(service, job) is JobState.running
        recipe = service.run_folder(job.id).config_file
        of_another_version = {**json.loads(recipe.read_text(encoding="utf-8")), "unheard_of": 1}
        recipe.write_text(json.dumps(of_another_version), encoding="utf-8")  # no reason to lose what was paid for
        alice.batch_bucket_files(bucket, add=[(str(good), "artifact/notes.json")])
        wait_until(lambda: state(service, job) is JobState.finished)
    home = {file.name for file in service.run_folder(job.id).artifact.iterdir()}
    assert home == {file.name for file in artifact.iterdir()}
    assert not list(settings.home.rglob("outside"))
    assert json.loads(recipe.read_text(encoding="utf-8")) == of_another_version
    assert list(alice.list_buckets("alice")) == []


@pytest.mark.fault(27)
def test_hub_that_never_answers_holds_nothing_up_for_ever(
    hub: LocalHub,
    alice: HfApi,
    settings: Settings,
    service: JobService,
    send: Send,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Listings are the calls that the client never limits."""
    monkeypatch.setattr("jobs.hub.client.TIMEOUT_S", 4.0)
    hub.hold_jobs(held=True)
    hub.order_fault("/tree", hang_s=180)
    job = send()
    follow_until_it_is_asked_for(alice, settings, service, job, note=lambda _text: None)


def test_kill_before_the_bucket_is_gone_leaves_the_result_and_only_that_to_do(
    hub: LocalHub, alice: HfApi, settings: Settings, service: JobService, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = send()
    run = service.run_folder(job.id)
    record = read_remote(run)
    assert record is not None
    write_remote(run, record.model_copy(update={"stage": Stage.sent, "hub_job": "0" * 24, "exit_code": 0}))
    bucket = f"alice/concept-studio-{job.id}"
    alice.create_bucket(bucket, private=True)
    hub.order_fault(f"DELETE /api/buckets/{bucket}", drop=True, after_work=True)
    trainer = RemoteTrainer(settings, TokenVault(ALICE), "an/image")
    watch = Watch(lambda: StopWish.none, lambda: False, lambda _text: None)
    monkeypatch.setattr("jobs.remote.trainer._WAITS_S", (0,))
    assert trainer.train(job, run, watch) == 0
    assert asked_for(hub) == 0
    assert list(alice.list_buckets("alice")) == []


def test_database_that_fails_while_the_hub_is_waited_for_leaves_no_job_alone(
    hub: LocalHub, alice: HfApi, settings: Settings, service: JobService, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.remote.trainer._WAITS_S", (0,))
    hub.hold_jobs(held=True)
    hub.order_fault(ASK_FOR_A_JOB, status=503)
    job, waits = send(), list[str]()

    def note(text: str) -> None:
        waits.extend([text] if "Nothing is lost" in text else [])
        if waits == [text]:
            raise OperationalError("UPDATE jobs", {}, Exception("server closed the connection"))

    follow_until_it_is_asked_for(alice, settings, service, job, note=note)
    assert len(waits) > 1


def test_second_follower_of_a_data_root_refuses_and_leaves_the_first_its_socket(
    hub: LocalHub, settings: Settings, service: JobService, desk: TokenDesk
) -> None:
    with follower(settings, hub), follower(settings, hub) as second:
        assert second.wait(PATIENCE_S) == 2
        desk.hand_over_for_training("anna", ALICE)
