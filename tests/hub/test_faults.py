"""Failures that were ordered happen, as often as ordered, and the real client sees what it would see of a real one."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from tests.hub.accounts import ALICE, EXPIRED
from tests.hub.faults import FOREVER
from tests.hub.fixtures import Client
from tests.hub.local_hub import LocalHub
from tests.waiting import PATIENCE_S, wait_until

DOG = "alice/dog"
BIG = b"\0" + b"big" * 4_000_000
WHOAMI = "GET /api/whoami-v2"


@pytest.fixture
def alice(client: Client, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    """Alice's client, with a model; it does not sleep between its attempts."""
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    alice = client(ALICE)
    alice.create_repo(DOG)
    return alice


def add(api: HfApi, data: bytes = b"1") -> str:
    return api.create_commit(DOG, [CommitOperationAdd("a.txt", data)], commit_message="add").oid


def statuses(hub: LocalHub, line: str) -> list[int | None]:
    return [record.status for record in hub.requests() if line in record.line]


def test_status_is_answered_as_often_as_ordered(hub: LocalHub, alice: HfApi) -> None:
    hub.order_fault("POST .*/preupload/", times=2, status=503)
    add(alice)  # the client tries this one again by itself
    assert statuses(hub, "/preupload/") == [503, 503, 200]


def test_headers_come_with_the_status(hub: LocalHub) -> None:
    hub.order_fault("GET /api/models/", status=429, headers={"Retry-After": "3600"})
    answer = httpx2.get(f"{hub.url}/api/models/{DOG}")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3600")


def test_cleared_fault_does_not_happen(hub: LocalHub, alice: HfApi) -> None:
    hub.order_fault(".*", times=FOREVER, status=500)
    hub.clear_faults()
    assert alice.whoami()["name"] == "alice"


def test_hub_that_hangs_answers_late(hub: LocalHub) -> None:
    headers = {"Authorization": f"Bearer {ALICE}"}
    for hang_s in (30.0, 0.5):
        hub.order_fault(WHOAMI, hang_s=hang_s)
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(f"{hub.url}/api/whoami-v2", headers=headers, timeout=0.2)
    began = time.monotonic()
    assert httpx2.get(f"{hub.url}/api/whoami-v2", headers=headers, timeout=PATIENCE_S).status_code == 200
    assert time.monotonic() - began >= 0.5


def test_upload_that_is_cut_leaves_nothing_and_is_sent_again(hub: LocalHub, alice: HfApi) -> None:
    hub.order_fault("PUT /storage/", cut_request_after=1_000_000)
    alice.upload_file(path_or_fileobj=BIG, path_in_repo="big.bin", repo_id=DOG)
    assert statuses(hub, "PUT /storage/") == [None, 200]
    (info,) = alice.get_paths_info(DOG, ["big.bin"])
    assert getattr(info, "size", None) == len(BIG)


def test_download_that_is_cut_goes_on_where_it_stopped(hub: LocalHub, alice: HfApi, tmp_path: Path) -> None:
    alice.upload_file(path_or_fileobj=BIG, path_in_repo="big.bin", repo_id=DOG)
    hub.order_fault("GET /storage/", cut_response_after=11_000_000)  # the client keeps whole pieces of 10 MiB
    assert Path(alice.hf_hub_download(DOG, "big.bin", cache_dir=tmp_path)).read_bytes() == BIG
    assert statuses(hub, "GET /storage/") == [200, 206]


@pytest.mark.parametrize("status", [502, None])
def test_answer_is_lost_though_the_work_is_done(hub: LocalHub, alice: HfApi, status: int | None) -> None:
    hub.order_fault("POST .*/commit/", status=status, drop=status is None, after_work=True)
    with pytest.raises((HfHubHTTPError, httpx2.RemoteProtocolError, httpx2.NetworkError)):
        add(alice)
    assert [commit.title for commit in alice.list_repo_commits(DOG)] == ["add", "initial commit"]


def test_connection_is_dropped_before_the_work_is_done(hub: LocalHub, alice: HfApi) -> None:
    hub.order_fault("POST .*/commit/", drop=True)
    with pytest.raises((httpx2.RemoteProtocolError, httpx2.NetworkError)):
        add(alice)
    assert len(alice.list_repo_commits(DOG)) == 1


def test_token_can_be_revoked_at_a_certain_request(hub: LocalHub, alice: HfApi, client: Client) -> None:
    hub.order_fault("POST .*/commit/", revoke=ALICE)
    with pytest.raises(HfHubHTTPError) as error:
        add(alice)
    assert error.value.response.status_code == 401
    assert statuses(hub, "/preupload/") == [200]
    with pytest.raises(HfHubHTTPError):
        alice.whoami()


def test_token_can_be_revoked_now(hub: LocalHub, client: Client) -> None:
    token = hub.new_token("bob")
    assert client(token).whoami()["name"] == "bob"
    hub.revoke(token)
    with pytest.raises(HfHubHTTPError):
        client(token).whoami()


def test_client_that_is_killed_in_the_midst_of_a_request_is_no_failure_of_the_hub(hub: LocalHub) -> None:
    head = f"POST /api/repos/create HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {ALICE}\r\nContent-Length: 9\r\n\r\n"
    url = httpx2.URL(hub.url)
    with socket.create_connection((url.host, url.port)) as killed:
        killed.sendall(head.encode())
        wait_until(hub.requests)
    (record,) = hub.requests()  # the Hub has seen the end of that connection before it answers on a new one
    assert record.status is None
    assert "Traceback" not in hub.log()


def test_journal_tells_who_asked_for_what(hub: LocalHub) -> None:
    httpx2.get(f"{hub.url}/api/models/alice/d%2Fg?blobs=1", headers={"Authorization": f"Bearer {EXPIRED}"})
    (record,) = hub.requests()
    assert (record.line, record.query, record.token) == ("GET /api/models/alice/d%2Fg", "blobs=1", EXPIRED)
    assert record.status == 401


def test_program_under_test_cannot_command_the_hub(hub: LocalHub) -> None:
    for key in ({}, {"X-Control-Key": "guess"}):
        assert httpx2.post(f"{hub.url}/control/reset", headers=key).status_code == 403


def test_reset_forgets_everything(hub: LocalHub, alice: HfApi) -> None:
    hub.order_fault(WHOAMI, times=FOREVER, status=500)
    hub.revoke(ALICE)
    hub.reset()
    assert alice.whoami()["name"] == "alice"
    assert not alice.repo_exists(DOG)
