"""Jobs through the real client: they really run, and die when they are told to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, JobInfo
from huggingface_hub.errors import HfHubHTTPError, JobNotFoundError

from tests.hub.accounts import ALICE, BOB, TokenKind
from tests.hub.fixtures import Client
from tests.hub.local_hub import LocalHub
from tests.waiting import has_ended, wait_until


@pytest.fixture
def alice(client: Client) -> HfApi:
    return client(ALICE)


def run(api: HfApi, program: str, **more: Any) -> JobInfo:
    """Run a Python program as a Job of alice."""
    command = [sys.executable, "-u", "-c", program]
    more = {"image": "python:3.11", "namespace": "alice", "flavor": "cpu-basic", **more}
    return api.run_job(command=command, **more)


def stage(api: HfApi, job: JobInfo) -> str:
    return api.inspect_job(job_id=job.id, namespace="alice").status.stage


def logs(api: HfApi, job: JobInfo, *, tail: int | None = None) -> list[str]:
    return list(api.fetch_job_logs(job_id=job.id, namespace="alice", follow=True, tail=tail))


def test_job_runs_with_its_environment_and_secrets_and_nobody_elses(
    alice: HfApi, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import os; e = os.environ; "
        "print(e['RECIPE'], e['HF_TOKEN'], e['HF_ENDPOINT'], e['JOB_ID'], 'PYTEST_CURRENT_TEST' in e)"
    )
    job = run(alice, program, env={"RECIPE": "dog"}, secrets={"HF_TOKEN": "hush"})
    assert logs(alice, job) == [f"dog hush {hub.url} {job.id} False"]
    ended = alice.inspect_job(job_id=job.id, namespace="alice")
    assert ended.status.stage == "COMPLETED"
    assert ended.finished_at is not None
    assert ended.environment == {"RECIPE": "dog"}
    assert "hush" not in repr(ended)


def test_logs_arrive_while_the_job_runs(alice: HfApi) -> None:
    job = run(alice, "import time; print('one'); time.sleep(30)")
    stream = alice.fetch_job_logs(job_id=job.id, namespace="alice", follow=True)
    assert next(iter(stream)) == "one"
    assert stage(alice, job) == "RUNNING"
    alice.cancel_job(job_id=job.id, namespace="alice")


def test_tail_of_the_logs(alice: HfApi) -> None:
    job = run(alice, "print('one\\ntwo\\nthree')")
    logs(alice, job)
    assert logs(alice, job, tail=2) == ["two", "three"]


def test_job_that_fails_says_how(alice: HfApi) -> None:
    job = run(alice, "raise SystemExit(3)")
    wait_until(lambda: stage(alice, job) == "ERROR")
    assert "exit code 3" in (alice.inspect_job(job_id=job.id, namespace="alice").status.message or "")


def test_job_that_takes_too_long_is_ended(alice: HfApi) -> None:
    job = run(alice, "import time; time.sleep(60)", timeout=1)
    wait_until(lambda: stage(alice, job) == "ERROR")
    assert alice.inspect_job(job_id=job.id, namespace="alice").status.message == "Job timeout"


def test_cancelled_job_dies_with_all_that_it_started(alice: HfApi) -> None:
    program = (
        "import subprocess, sys, time; "
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid); time.sleep(60)"
    )
    job = run(alice, program)
    child = int(next(iter(alice.fetch_job_logs(job_id=job.id, namespace="alice", follow=True))))
    assert not has_ended(child)
    alice.cancel_job(job_id=job.id, namespace="alice")
    assert stage(alice, job) == "CANCELED"
    wait_until(lambda: has_ended(child))


def test_job_with_the_image_of_a_space_runs_among_its_files(alice: HfApi) -> None:
    alice.create_repo("alice/studio", repo_type="space", space_sdk="gradio")
    alice.upload_file(path_or_fileobj=b"hi", path_in_repo="a/b.txt", repo_id="alice/studio", repo_type="space")
    job = run(alice, "print(open('a/b.txt').read())", image="hf.co/spaces/alice/studio")
    assert job.space_id == "alice/studio"
    assert logs(alice, job) == ["hi"]


def test_jobs_can_run_in_a_given_folder(tmp_path: Path, client: Client) -> None:
    with LocalHub(tmp_path / "hub", jobs_run_in=tmp_path) as hub:
        api = HfApi(endpoint=hub.url, token=ALICE)
        assert logs(api, run(api, "import os; print(os.getcwd())")) == [str(tmp_path)]


def test_jobs_are_found_by_label_and_stage(alice: HfApi) -> None:
    jobs = [run(alice, "pass", labels={"run": name, "app": "studio"}) for name in ("a", "b")]
    for job in jobs:
        logs(alice, job)

    def found(**filters: Any) -> list[str]:
        return [job.id for job in alice.list_jobs(namespace="alice", **filters)]

    assert found() == [jobs[1].id, jobs[0].id]
    assert found(labels={"run": "a", "app": "studio"}) == [jobs[0].id]
    assert found(status="RUNNING") == []
    assert len(found(status=["COMPLETED", "ERROR"])) == 2
    alice.update_job_labels(job_id=jobs[0].id, namespace="alice", labels={"run": "c"})
    assert found(labels={"run": "c"}) == [jobs[0].id]


def test_held_jobs_wait_to_be_scheduled(alice: HfApi, hub: LocalHub) -> None:
    hub.hold_jobs(held=True)
    job = run(alice, "print('at last')")
    assert stage(alice, job) == "SCHEDULING"
    hub.hold_jobs(held=False)
    assert logs(alice, job) == ["at last"]


def test_something_can_befall_a_job(alice: HfApi, hub: LocalHub) -> None:
    job = run(alice, "import time; time.sleep(60)")
    hub.end_job(job.id, stage="ERROR", message="no machine was found")
    assert alice.inspect_job(job_id=job.id, namespace="alice").status.message == "no machine was found"


def test_who_has_no_credits_gets_no_job(client: Client) -> None:
    with pytest.raises(HfHubHTTPError) as error:
        client(BOB).run_job(image="x", command=["true"], namespace="bob")
    assert error.value.response.status_code == 402


def test_jobs_of_others_do_not_exist(alice: HfApi, client: Client) -> None:
    job = run(alice, "pass")
    for job_id, api in ((job.id, client(BOB)), ("nope", alice)):
        with pytest.raises(JobNotFoundError):
            api.inspect_job(job_id=job_id, namespace="alice")


def test_sign_in_runs_jobs_only_with_that_scope(hub: LocalHub, client: Client) -> None:
    with_scope = hub.new_token(kind=TokenKind.OAUTH, grants=["openid", "jobs"])
    without = hub.new_token(kind=TokenKind.OAUTH, grants=["openid", "contribute-repos"])
    run(client(with_scope), "pass")
    with pytest.raises(HfHubHTTPError) as error:
        run(client(without), "pass")
    assert error.value.response.status_code == 403


def test_jobs_end_with_the_hub(tmp_path: Path, client: Client) -> None:
    with LocalHub(tmp_path / "hub") as hub:
        api = HfApi(endpoint=hub.url, token=ALICE)
        job = run(api, "import os, time; print(os.getpid()); time.sleep(60)")
        pid = int(next(iter(api.fetch_job_logs(job_id=job.id, namespace="alice", follow=True))))
    wait_until(lambda: has_ended(pid))
