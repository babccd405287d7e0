"""Buckets through the real client."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import BucketNotFoundError, HfHubHTTPError

from tests.hub.accounts import ALICE, ALICE_READS, BOB
from tests.hub.fixtures import Client, run_trip
from tests.hub.local_hub import LocalHub

RUNS = "alice/runs"


@pytest.fixture
def alice(client: Client) -> HfApi:
    """Alice's client; she has an empty private bucket."""
    alice = client(ALICE)
    alice.create_bucket(RUNS, private=True)
    return alice


def test_files_go_in_and_come_out(hub: LocalHub, tmp_path: Path) -> None:
    run_trip("bucket", hub, tmp_path, xet=True)
    headers = {"Authorization": f"Bearer {ALICE}"}
    answer = httpx2.get(f"{hub.url}/buckets/{RUNS}/resolve/a%2Fb%2Fagain.txt", headers=headers)
    assert answer.content == b"hello"


def test_bucket_is_created_once_and_deleted(alice: HfApi) -> None:
    with pytest.raises(HfHubHTTPError) as error:
        alice.create_bucket(RUNS)
    assert error.value.response.status_code == 409
    alice.delete_bucket(RUNS)
    alice.delete_bucket(RUNS, missing_ok=True)
    with pytest.raises(BucketNotFoundError):
        alice.bucket_info(RUNS)


def test_name_that_the_hub_does_not_take_is_refused(alice: HfApi) -> None:
    with pytest.raises(HfHubHTTPError) as error:
        alice.create_bucket("alice/x.ipynb")
    assert error.value.response.status_code == 400


def test_private_bucket_is_for_its_owner(alice: HfApi, client: Client) -> None:
    with pytest.raises(BucketNotFoundError):
        client(BOB).bucket_info(RUNS)
    assert client(ALICE_READS).bucket_info(RUNS).private
    with pytest.raises(HfHubHTTPError) as error:
        client(ALICE_READS).delete_bucket(RUNS)
    assert error.value.response.status_code == 403


def test_operations_that_fail_are_named(alice: HfApi, hub: LocalHub) -> None:
    headers = {"Authorization": f"Bearer {ALICE}"}
    lines = '{"type": "deleteFile", "path": "nope"}\n{"type": "addFile", "path": "x", "xetHash": "%s", "mtime": 0}\n'
    answer = httpx2.post(f"{hub.url}/api/buckets/{RUNS}/batch", content=lines % ("0" * 64), headers=headers)
    assert answer.status_code == 200
    assert answer.json()["failed"] == [{"path": "nope", "error": "File not found"}]
    assert [file.path for file in alice.list_bucket_tree(RUNS)] == ["x"]
