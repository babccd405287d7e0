"""Files on their way into repositories and out of them, through the real client."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RevisionNotFoundError

from tests.hub.accounts import ALICE, ALICE_READS, BOB
from tests.hub.fixtures import Client, run_trip
from tests.hub.local_hub import LocalHub
from tests.hub.round_trip import WEIGHTS
from tests.waiting import PATIENCE_S

DOG = "alice/dog"
BIG = b"\0" + b"big" * 100_000


@pytest.fixture
def alice(client: Client) -> HfApi:
    """Alice's client; she has a model without files."""
    alice = client(ALICE)
    alice.create_repo(DOG)
    return alice


def storage_requests(hub: LocalHub, method: str) -> list[str]:
    """Paths below the storage that were used, after a check that no token went there."""
    found = [record for record in hub.requests() if record.path.startswith("/storage/") and record.method == method]
    assert all(record.token is None and record.host.startswith("localhost:") for record in found)
    return [record.path for record in found]


def test_round_trip_by_lfs_in_one_piece(hub: LocalHub, tmp_path: Path) -> None:
    run_trip("repository", hub, tmp_path, xet=False)
    assert len(storage_requests(hub, "PUT")) == 4
    assert storage_requests(hub, "GET")


def test_round_trip_by_lfs_in_parts(tmp_path: Path) -> None:
    with LocalHub(tmp_path / "hub", multipart_bytes=5_000_000) as hub:
        run_trip("repository", hub, tmp_path, xet=False)
        assert sum(path.endswith(("/1", "/2", "/3")) for path in storage_requests(hub, "PUT")) == 3


def test_round_trip_up_by_xet_and_down_by_http(hub: LocalHub, tmp_path: Path) -> None:
    run_trip("repository", hub, tmp_path, xet=True)
    assert len(storage_requests(hub, "PUT")) == 1  # of what is sent from a buffer
    assert storage_requests(hub, "GET")


def test_round_trip_by_xet_both_ways_and_by_a_second_process(tmp_path: Path) -> None:
    with LocalHub(tmp_path / "hub", xet_reads=True) as hub:
        run_trip("repository", hub, tmp_path, xet=True, TEST_XET_READS="1")
        assert len(set(storage_requests(hub, "GET"))) == 1  # of what was sent from a buffer
        program = f"import huggingface_hub as h; h.hf_hub_download('alice/model', {WEIGHTS!r})"
        for home, xet in (("second", True), ("third", False)):
            environment = {**os.environ, **hub.environment(tmp_path / home, token=ALICE, xet=xet)}
            subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=PATIENCE_S)


def test_xet_upload_without_the_right_to_write_fails_with_403_in_its_text(
    alice: HfApi, hub: LocalHub, tmp_path: Path
) -> None:
    """Not an HTTP error: the upload's own library asks for leave, and its errors have no status."""
    program = (
        "import huggingface_hub as h\n"
        "from huggingface_hub._commit_api import _upload_xet_files\n"
        "add = h.CommitOperationAdd('a.bin', b'x' * 100)\n"
        "headers = h.HfApi()._build_hf_headers()\n"
        "try: _upload_xet_files(additions=[add], repo_type='model', repo_id='alice/dog', headers=headers)\n"
        "except ConnectionError as error: print(type(error).__name__, error)\n"
    )
    environment = {**os.environ, **hub.environment(tmp_path, token=ALICE_READS, xet=True)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("ConnectionError"), result
    assert "403" in result.stdout


def test_download_can_start_in_the_middle(alice: HfApi, hub: LocalHub) -> None:
    for name, data in (("small.txt", b"0123456789"), ("big.bin", BIG)):
        alice.upload_file(path_or_fileobj=data, path_in_repo=name, repo_id=DOG)
        headers = {"Range": "bytes=4-7"}
        answer = httpx2.get(f"{hub.url}/{DOG}/resolve/main/{name}", headers=headers, follow_redirects=True)
        assert (answer.status_code, answer.content) == (206, data[4:8])
        assert answer.headers["Content-Range"] == f"bytes 4-7/{len(data)}"


def test_head_tells_commit_etag_and_size(alice: HfApi, hub: LocalHub) -> None:
    alice.upload_file(path_or_fileobj=BIG, path_in_repo="big.bin", repo_id=DOG)
    commit = alice.upload_file(path_or_fileobj=b"12345", path_in_repo="small.txt", repo_id=DOG)
    small = alice.get_hf_file_metadata(url=f"{hub.url}/{DOG}/resolve/main/small.txt")
    assert (small.commit_hash, small.size) == (commit.oid, 5)
    big = alice.get_hf_file_metadata(url=f"{hub.url}/{DOG}/resolve/main/big.bin")
    assert big.size == len(BIG)
    assert big.location.startswith("http://localhost:")


def test_token_sent_to_the_storage_is_refused(alice: HfApi, hub: LocalHub) -> None:
    alice.upload_file(path_or_fileobj=BIG, path_in_repo="big.bin", repo_id=DOG)
    (stored,) = storage_requests(hub, "PUT")
    headers = {"Authorization": f"Bearer {ALICE}"}
    assert httpx2.get(hub.url + stored, headers=headers).status_code == 400
    assert httpx2.get(hub.url + stored).content == BIG


def test_missing_file_and_missing_revision_are_told_apart(alice: HfApi, tmp_path: Path) -> None:
    with pytest.raises(EntryNotFoundError):
        alice.hf_hub_download(DOG, "nope.txt", cache_dir=tmp_path)
    with pytest.raises(RevisionNotFoundError):
        alice.hf_hub_download(DOG, "README.md", revision="nope", cache_dir=tmp_path)


def test_commit_upon_another_than_its_parent_is_refused(alice: HfApi) -> None:
    parent = alice.model_info(DOG).sha
    add = [CommitOperationAdd("a.txt", b"1")]
    alice.create_commit(DOG, add, commit_message="first", parent_commit=parent)
    with pytest.raises(HfHubHTTPError) as error:
        alice.create_commit(DOG, [CommitOperationAdd("a.txt", b"2")], commit_message="late", parent_commit=parent)
    assert error.value.response.status_code == 412


def test_two_commits_never_share_an_id(alice: HfApi) -> None:
    ids = {alice.upload_file(path_or_fileobj=b"%d" % (n % 2), path_in_repo="a", repo_id=DOG).oid for n in range(4)}
    assert len(ids) == 4


def test_pull_request_leaves_main_alone(alice: HfApi) -> None:
    commit = alice.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=DOG, create_pr=True)
    assert (commit.pr_num, commit.pr_revision) == (1, "refs/pr/1")
    assert not alice.file_exists(DOG, "a.txt")
    assert alice.file_exists(DOG, "a.txt", revision="refs/pr/1")
    references = alice.list_repo_refs(DOG, include_pull_requests=True).pull_requests or []
    assert [reference.target_commit for reference in references] == [commit.oid]


def test_folder_is_deleted_with_all_that_is_in_it(alice: HfApi) -> None:
    additions = [CommitOperationAdd(name, b"1") for name in ("a/b/c", "a/d", "ab")]
    alice.create_commit(DOG, additions, commit_message="add")
    alice.delete_folder("a", DOG)
    assert set(alice.list_repo_files(DOG)) == {".gitattributes", "ab"}


def test_only_writers_may_commit(alice: HfApi, client: Client) -> None:
    for token, status in ((BOB, 403), (ALICE_READS, 403), (None, 401)):
        with pytest.raises(HfHubHTTPError) as error:
            client(token).create_commit(DOG, [CommitOperationAdd("a", b"1")], commit_message="no")
        assert error.value.response.status_code == status


def test_card_with_broken_metadata_is_refused(alice: HfApi, hub: LocalHub) -> None:
    broken = b"---\nlicense: [oops\n---\n"
    with pytest.raises(ValueError, match="Invalid metadata"):
        alice.upload_file(path_or_fileobj=broken, path_in_repo="README.md", repo_id=DOG)
    card = ModelCard("---\nlicense: mit\ntags: [a]\n---\n# hi")
    alice.upload_file(path_or_fileobj=str(card).encode(), path_in_repo="README.md", repo_id=DOG)
    assert alice.model_info(DOG).tags == ["a"]
