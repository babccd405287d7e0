"""Publishing against a Hub that fails in every way: one final tree, as it was meant, and nothing foreign lost."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard
from huggingface_hub.hf_api import RepoFile

from jobs.publishing import publish as publishing
from jobs.publishing.publish import publish, settle_visibility
from jobs.publishing.repository import CARD_FILE, RECORD_FILE, Content, repository_files
from tests.hub.accounts import ALICE, ALICE_READS, BOB, EXPIRED
from tests.hub.faults import FOREVER
from tests.hub.local_hub import LocalHub
from tests.jobs.finished_run import write_finished_run
from trainer.artifact import list_files, read_manifest, write_manifest
from trainer.errors import HubError, HubTrouble, RequestError, VerificationError
from trainer.run_folder import RunFolder

MUG = "alice/red-mug"
Client = Callable[[str | None], HfApi]


@pytest.fixture
def run(tmp_path: Path, photo_folder: Path) -> RunFolder:
    return write_finished_run(tmp_path / "run", photo_folder)


@pytest.fixture
def alice(client: Client, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    """Alice's own client; nobody sleeps between attempts."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    return client(ALICE)


def try_publish(hub: LocalHub, run: RunFolder, token: str | None = ALICE, repo_id: str = MUG, **options: Any) -> Any:
    return publish(run, repo_id, token, endpoint=hub.url, **options)


def tree(api: HfApi, repo_id: str = MUG) -> dict[str, RepoFile]:
    return {e.path: e for e in api.list_repo_tree(repo_id, recursive=True) if isinstance(e, RepoFile)}


def assert_complete(api: HfApi, run: RunFolder) -> None:
    """The remote tree is what is meant, no more and no less."""
    meant = repository_files(run, MUG, base_licence=None)
    remote = tree(api)
    assert remote.keys() - {".gitattributes"} == meant.keys()
    for path, content in meant.items():
        entry = remote[path]
        same = entry.lfs.sha256 == content.identity.sha256 if entry.lfs else entry.blob_id == content.identity.git
        assert same, path


def commits(api: HfApi) -> int:
    return len(api.list_repo_commits(MUG))


def test_concept_arrives_whole_and_private(hub: LocalHub, alice: HfApi, run: RunFolder) -> None:
    done = try_publish(hub, run)
    assert done.url == f"{hub.url}/{MUG}"
    assert done.commit == alice.model_info(MUG).sha
    assert alice.model_info(MUG).private
    assert_complete(alice, run)
    assert ModelCard(Path(alice.hf_hub_download(MUG, CARD_FILE)).read_text()).data.library_name == "diffusers"


def test_public_is_asked_for(hub: LocalHub, client: Client, run: RunFolder) -> None:
    try_publish(hub, run, private=False)
    assert client(None).model_info(MUG).id == MUG


@pytest.mark.parametrize("private", [True, False])
def test_repository_that_others_see_otherwise_than_asked_is_not_written(
    hub: LocalHub, alice: HfApi, run: RunFolder, private: bool
) -> None:
    """Creating one that exists already would leave it as visible as it was."""
    try_publish(hub, run, private=private)
    with pytest.raises(HubError, match="exists and is " + ("private" if private else "public")) as refused:
        try_publish(hub, run, private=not private)
    assert refused.value.trouble is HubTrouble.taken
    with pytest.raises(HubError, match="exists and is"):
        settle_visibility(MUG, ALICE, private=not private, endpoint=hub.url)
    settle_visibility(MUG, ALICE, private=private, endpoint=hub.url)
    settle_visibility(f"{MUG}-2", ALICE, private=private, endpoint=hub.url)
    assert bool(alice.model_info(MUG).private) is private


@pytest.mark.parametrize("private", [True, False])
def test_concept_that_is_there_is_shown_or_hidden(hub: LocalHub, alice: HfApi, run: RunFolder, private: bool) -> None:
    first = try_publish(hub, run, private=private)
    settle_visibility(MUG, ALICE, private=not private, holds_it=True, endpoint=hub.url)
    assert bool(alice.model_info(MUG).private) is not private
    assert try_publish(hub, run, private=not private) == first
    with pytest.raises(HubError, match="may not write"):
        settle_visibility(MUG, ALICE_READS, private=private, holds_it=True, endpoint=hub.url)


def test_second_time_changes_nothing(hub: LocalHub, alice: HfApi, run: RunFolder) -> None:
    first = try_publish(hub, run)
    count = commits(alice)
    assert try_publish(hub, run) == first
    assert commits(alice) == count


def test_new_version_replaces_its_own_files_only(
    hub: LocalHub, alice: HfApi, run: RunFolder, tmp_path: Path, photo_folder: Path
) -> None:
    try_publish(hub, run)
    mine = [CommitOperationAdd("my-notes.txt", b"mine"), CommitOperationAdd(CARD_FILE, b"# my own words")]
    alice.create_commit(MUG, mine, commit_message="mine")
    again = write_finished_run(tmp_path / "again", photo_folder, seed=7)
    (again.artifact / "notes.json").unlink()
    manifest = read_manifest(again.artifact)
    write_manifest(again.artifact, manifest.model_copy(update={"files": list_files(again.artifact)}))
    try_publish(hub, again)
    remote = tree(alice)
    assert "notes.json" not in remote
    assert remote["my-notes.txt"].size == 4
    assert Path(alice.hf_hub_download(MUG, CARD_FILE)).read_text() == "# my own words"
    record = json.loads(Path(alice.hf_hub_download(MUG, RECORD_FILE)).read_text())
    assert "my-notes.txt" not in record["files"]


@pytest.mark.fault(31)
def test_file_that_somebody_put_in_the_place_of_ours_stays(
    hub: LocalHub, alice: HfApi, run: RunFolder, tmp_path: Path, photo_folder: Path
) -> None:
    try_publish(hub, run)
    theirs = CommitOperationAdd("notes.json", b"my own notes")
    alice.create_commit(MUG, [theirs], commit_message="mine")
    again = write_finished_run(tmp_path / "again", photo_folder, seed=7)
    (again.artifact / "notes.json").unlink()  # the new version has none
    manifest = read_manifest(again.artifact)
    write_manifest(again.artifact, manifest.model_copy(update={"files": list_files(again.artifact)}))
    try_publish(hub, again)
    assert Path(alice.hf_hub_download(MUG, "notes.json")).read_bytes() == b"my own notes"


@pytest.mark.fault(31)
def test_another_concept_of_this_app_is_left_alone(
    hub: LocalHub, alice: HfApi, run: RunFolder, tmp_path: Path, photo_folder: Path
) -> None:
    try_publish(hub, run)
    adapter = write_finished_run(tmp_path / "adapter", photo_folder, method="dreambooth-lora")
    with pytest.raises(HubError, match=r"holds red-mug \(textual-inversion\); publish under another name") as caught:
        try_publish(hub, adapter)
    assert caught.value.trouble is HubTrouble.taken
    assert_complete(alice, run)


@pytest.mark.fault(31)
def test_repository_of_something_else_is_left_alone(hub: LocalHub, alice: HfApi, run: RunFolder) -> None:
    alice.create_repo(MUG)
    alice.create_commit(MUG, [CommitOperationAdd("model.safetensors", b"theirs")], commit_message="theirs")
    before = tree(alice).keys()
    with pytest.raises(HubError, match="another name") as caught:
        try_publish(hub, run)
    assert caught.value.trouble is HubTrouble.taken
    assert tree(alice).keys() == before


@pytest.mark.fault(30, 31)
@pytest.mark.parametrize(
    ("token", "repo_id", "trouble"),
    [
        (None, MUG, HubTrouble.sign_in),
        (EXPIRED, MUG, HubTrouble.sign_in),
        ("hf_nonsense", MUG, HubTrouble.sign_in),
        (ALICE_READS, MUG, HubTrouble.forbidden),
        (BOB, MUG, HubTrouble.forbidden),
        (ALICE, "readers/mug", HubTrouble.forbidden),
    ],
)
def test_wrong_token_is_said_in_words(
    hub: LocalHub, client: Client, run: RunFolder, token: str | None, repo_id: str, trouble: HubTrouble
) -> None:
    with pytest.raises(HubError) as caught:
        try_publish(hub, run, token, repo_id)
    assert caught.value.trouble is trouble
    assert str(token) not in str(caught.value)
    assert not [r for r in hub.requests() if r.method == "POST"]


@pytest.mark.fault(30)
def test_revoked_in_the_middle_loses_nothing(hub: LocalHub, alice: HfApi, run: RunFolder) -> None:
    token = hub.new_token("alice")
    hub.order_fault("POST .*/commit/", revoke=token)
    with pytest.raises(HubError) as caught:
        try_publish(hub, run, token)
    assert caught.value.trouble is HubTrouble.sign_in
    try_publish(hub, run)
    assert_complete(alice, run)


@pytest.mark.fault(28)
def test_lost_answer_of_a_commit_makes_no_second_one(hub: LocalHub, alice: HfApi, run: RunFolder) -> None:
    for fault in ({"status": 502}, {"drop": True}):
        hub.reset()
        hub.order_fault("POST .*/commit/", after_work=True, **fault)
        try_publish(hub, run)
        assert commits(alice) == 2  # the Hub's own first one, and ours
        assert_complete(alice, run)


@pytest.mark.fault(31)
def test_somebody_else_commits_in_between(
    hub: LocalHub, alice: HfApi, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = publishing._operations
    interferences = [b"1"]

    def interfere(*arguments: Any) -> Any:
        if interferences:
            data = interferences.pop()
            alice.create_commit(MUG, [CommitOperationAdd("notes-of-mine.txt", data)], commit_message="mine")
        return original(*arguments)

    try_publish(hub, run)
    (run.artifact / "notes.json").touch()
    alice.create_commit(MUG, [CommitOperationAdd("notes.json", b"{}")], commit_message="same")
    monkeypatch.setattr(publishing, "_operations", interfere)
    alice.delete_file("learned_embeds.safetensors", MUG)
    try_publish(hub, run)
    assert "notes-of-mine.txt" in tree(alice)
    assert "learned_embeds.safetensors" in tree(alice)


@pytest.mark.fault(29)
def test_long_retry_after_is_told_and_not_slept(hub: LocalHub, alice: HfApi, run: RunFolder) -> None:
    hub.order_fault("POST .*/commit/", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(HubError, match="asks to wait") as caught:
        try_publish(hub, run)
    assert caught.value.retry_after_s == 3600


@pytest.mark.fault(26)
def test_hub_down_for_good_says_so(hub: LocalHub, alice: HfApi, run: RunFolder) -> None:
    hub.order_fault(".*", times=1000, status=503)
    with pytest.raises(HubError) as caught:
        try_publish(hub, run)
    assert caught.value.trouble is HubTrouble.later
    hub.clear_faults()
    try_publish(hub, run)
    assert_complete(alice, run)


@pytest.mark.fault(32)
def test_repository_deleted_meanwhile_is_made_again(hub: LocalHub, alice: HfApi, run: RunFolder) -> None:
    try_publish(hub, run)
    alice.delete_repo(MUG)
    try_publish(hub, run)
    assert_complete(alice, run)


def test_damaged_artifact_is_not_published(hub: LocalHub, client: Client, run: RunFolder) -> None:
    (run.artifact / "notes.json").write_text("{ }")
    with pytest.raises(VerificationError, match=r"notes\.json"):
        try_publish(hub, run)
    assert not [r for r in hub.requests() if r.method == "POST"]


@pytest.mark.fault(47)
def test_bad_name_is_refused_before_the_hub_is_asked(hub: LocalHub, run: RunFolder) -> None:
    with pytest.raises(RequestError):
        try_publish(hub, run, repo_id="alice/a--b")
    assert not hub.requests()


FAULTS: list[dict[str, Any]] = [
    {"status": 500},
    {"status": 503},
    {"status": 502, "after_work": True},
    {"drop": True},
    {"drop": True, "after_work": True},
    {"cut_request_after": 10},
    {"cut_response_after": 5},
    {"status": 429, "headers": {"Retry-After": "1"}},
    {"status": 429, "headers": {"Retry-After": "3600"}},
]
PLACES = ["whoami", "repos/create", "/preupload/", "objects/batch", "PUT /", "/commit/", "/tree/", "api/models/", ".*"]


@pytest.mark.fault(5, 26, 28)
@pytest.mark.parametrize(
    ("seed", "count"), [(1, 12), pytest.param(2, 200, marks=pytest.mark.slow)], ids=["a dozen", "two hundred"]
)
def test_random_faults_leave_one_final_tree(hub: LocalHub, alice: HfApi, run: RunFolder, seed: int, count: int) -> None:
    rng = random.Random(seed)
    for _ in range(count):
        hub.order_fault(rng.choice(PLACES), times=rng.randint(1, 3), **rng.choice(FAULTS))
        try:
            try_publish(hub, run)
        except HubError as error:
            assert error.trouble is HubTrouble.later
    hub.clear_faults()
    try_publish(hub, run)
    assert_complete(alice, run)
    assert commits(alice) == 2


@pytest.mark.fault(59)
def test_token_is_sent_in_headers_alone(hub: LocalHub, alice: HfApi, run: RunFolder, tmp_path: Path) -> None:
    try_publish(hub, run)
    assert not [r for r in hub.requests() if ALICE in r.path + r.query]
    for content in repository_files(run, MUG, base_licence=None).values():
        text = content.source if isinstance(content.source, bytes) else content.source.read_bytes()
        assert ALICE.encode() not in text
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and ALICE.encode() in f.read_bytes()]
    assert Content(b"").identity.git == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def publish_until_it_is_taken(hub: LocalHub, run: RunFolder) -> int:
    """Try as the publisher does, again after each trouble that passes; returns how often."""
    for tries in range(1, 30):
        try:
            try_publish(hub, run)
        except HubError as error:
            assert error.trouble is HubTrouble.later
        else:
            return tries
    raise AssertionError("never published")


@pytest.mark.fault(26)
@pytest.mark.parametrize(("status", "times"), [(500, 1), (502, 5), (503, 5)])
def test_hub_that_fails_for_a_while_is_tried_again(
    hub: LocalHub,
    alice: HfApi,
    run: RunFolder,
    status: int,
    times: int,
) -> None:
    for place in ("repos/create", "/preupload/", "/commit/"):
        hub.order_fault(place, times=times, status=status)
    assert publish_until_it_is_taken(hub, run) > 1
    assert_complete(alice, run)
    assert commits(alice) == 2  # the Hub's own first one, and ours


@pytest.mark.fault(27)
@pytest.mark.parametrize("place", ["whoami", "PUT /", "/commit/", "/tree/"])
def test_hub_that_does_not_answer_is_given_up_and_tried_later(
    hub: LocalHub,
    alice: HfApi,
    run: RunFolder,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.order_fault(place, times=FOREVER, hang_s=60)
    with monkeypatch.context() as short, pytest.raises(HubError, match="did not answer") as caught:
        short.setattr("jobs.hub.TIMEOUT_S", 0.2)
        try_publish(hub, run)
    assert caught.value.trouble is HubTrouble.later
    asked = Counter(request.line for request in hub.requests() if place in request.line)
    assert max(asked.values()) <= 2 * 6  # the patience of the client with one call, once; two files are the same
    hub.clear_faults()
    try_publish(hub, run)
    assert_complete(alice, run)


@pytest.mark.fault(28)
def test_lost_answer_of_a_creation_makes_no_second_repository(hub: LocalHub, alice: HfApi, run: RunFolder) -> None:
    hub.order_fault("repos/create", after_work=True, drop=True)
    assert publish_until_it_is_taken(hub, run) == 2
    assert_complete(alice, run)
    assert commits(alice) == 2


@pytest.mark.fault(31)
def test_repository_that_was_renamed_stays_as_it_is(hub: LocalHub, alice: HfApi, run: RunFolder) -> None:
    try_publish(hub, run)
    alice.move_repo(MUG, "alice/old-mug")
    before = tree(alice, "alice/old-mug").keys()
    commit = alice.model_info("alice/old-mug").sha
    try_publish(hub, run)
    assert_complete(alice, run)
    assert alice.model_info("alice/old-mug").sha == commit
    assert tree(alice, "alice/old-mug").keys() == before


@pytest.mark.fault(32)
def test_repository_deleted_while_it_is_filled_is_said_and_made_again(
    hub: LocalHub,
    alice: HfApi,
    run: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = publishing._operations

    def delete_first(*arguments: Any) -> Any:
        monkeypatch.setattr(publishing, "_operations", original)
        alice.delete_repo(MUG)
        return original(*arguments)

    monkeypatch.setattr(publishing, "_operations", delete_first)
    with pytest.raises(HubError, match=f"There is no {MUG}") as caught:
        try_publish(hub, run)
    assert caught.value.trouble is HubTrouble.missing
    try_publish(hub, run)
    assert_complete(alice, run)
