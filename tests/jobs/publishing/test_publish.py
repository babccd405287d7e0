"""What publishing leaves on the Hub: what was meant, as visible as was asked for, and nothing foreign lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard

from jobs.publishing.publish import settle_visibility
from jobs.publishing.repository import CARD_FILE, RECORD_FILE, Content, repository_files
from tests.hub.accounts import ALICE, ALICE_READS, BOB, EXPIRED
from tests.hub.local_hub import LocalHub
from tests.jobs.finished_run import write_finished_run
from tests.jobs.publishing.on_the_hub import MUG, assert_complete, commits, tree, try_publish
from trainer.artifact import list_files, read_manifest, write_manifest
from trainer.errors import HubError, HubTrouble, RequestError, VerificationError
from trainer.run_folder import RunFolder

Client = Callable[[str | None], HfApi]


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
        settle_visibility(MUG, ALICE, private=not private)
    settle_visibility(MUG, ALICE, private=private)
    settle_visibility(f"{MUG}-2", ALICE, private=private)
    assert bool(alice.model_info(MUG).private) is private


@pytest.mark.parametrize("private", [True, False])
def test_concept_that_is_there_is_shown_or_hidden(hub: LocalHub, alice: HfApi, run: RunFolder, private: bool) -> None:
    first = try_publish(hub, run, private=private)
    settle_visibility(MUG, ALICE, private=not private, holds_it=True)
    assert bool(alice.model_info(MUG).private) is not private
    assert try_publish(hub, run, private=not private) == first
    with pytest.raises(HubError, match="may not write"):
        settle_visibility(MUG, ALICE_READS, private=private, holds_it=True)


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


@pytest.mark.fault(59)
def test_token_is_sent_in_headers_alone(hub: LocalHub, alice: HfApi, run: RunFolder, tmp_path: Path) -> None:
    try_publish(hub, run)
    assert not [r for r in hub.requests() if ALICE in r.path + r.query]
    for content in repository_files(run, MUG, base_licence=None).values():
        text = content.source if isinstance(content.source, bytes) else content.source.read_bytes()
        assert ALICE.encode() not in text
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and ALICE.encode() in f.read_bytes()]
    assert Content(b"").identity.git == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


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
