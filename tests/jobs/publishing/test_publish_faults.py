"""Publishing against a Hub that fails in every way: one final tree, as it was meant."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard
from huggingface_hub.utils import close_session

from jobs.hub import client
from jobs.publishing import publish as publishing
from tests.hub.faults import FOREVER
from tests.hub.local_hub import LocalHub
from tests.jobs.finished_run import write_finished_run
from tests.jobs.publishing.on_the_hub import MUG, assert_complete, commits, tree, try_publish
from trainer.errors import HubError, HubTrouble
from trainer.run_folder import RunFolder

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


@pytest.mark.fault(30)
def test_revoked_in_the_middle_loses_nothing(hub: LocalHub, alice: HfApi, run: RunFolder) -> None:
    token = hub.new_token("alice")
    hub.order_fault("POST .*/commit/", revoke=token)
    with pytest.raises(HubError) as caught:
        try_publish(hub, run, token)
    assert caught.value.trouble is HubTrouble.sign_in
    try_publish(hub, run)
    assert_complete(alice, run)


@pytest.mark.fault(26)
def test_licence_that_cannot_be_read_at_the_moment_is_not_published_as_unknown(
    hub: LocalHub, alice: HfApi, tmp_path: Path, photo_folder: Path
) -> None:
    run = write_finished_run(tmp_path / "of-a-base", photo_folder, base="alice/base")
    alice.create_repo("alice/base")
    alice.upload_file(path_or_fileobj=b"---\nlicense: mit\n---\n", path_in_repo="README.md", repo_id="alice/base")
    hub.order_fault("GET /api/models/alice/base$", status=503, times=FOREVER)
    with pytest.raises(HubError) as caught:
        try_publish(hub, run)
    assert caught.value.trouble is HubTrouble.later
    assert not alice.repo_exists(MUG)
    hub.clear_faults()
    try_publish(hub, run)
    assert ModelCard.load(alice.hf_hub_download(MUG, "README.md", local_dir=tmp_path)).data.license == "mit"
    alice.delete_repo("alice/base")
    alice.delete_repo(MUG)
    try_publish(hub, run)  # a base that is gone says nothing, and that stays so


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
    limit = client._limit

    def limit_that_place(request: httpx2.Request) -> None:
        limit(request)
        if re.search(place, f"{request.method} {request.url.path}"):
            request.extensions["timeout"] = httpx2.Timeout(0.2).as_dict()

    with monkeypatch.context() as short, pytest.raises(HubError, match="did not answer") as caught:
        short.setattr(client, "_limit", limit_that_place)
        close_session()  # the next call opens one with it
        try_publish(hub, run)
    close_session()
    assert caught.value.trouble is HubTrouble.later
    asked = Counter(request.line for request in hub.requests() if place in request.line)
    # the patience of the client with one call, once; two files are the same
    assert max(asked.values(), default=0) <= 2 * 6
    hub.clear_faults()
    try_publish(hub, run)
    assert_complete(alice, run)


@pytest.mark.fault(28)
def test_lost_answer_of_a_creation_makes_no_second_repository(hub: LocalHub, alice: HfApi, run: RunFolder) -> None:
    hub.order_fault("repos/create", after_work=True, drop=True)
    assert publish_until_it_is_taken(hub, run) == 2
    assert_complete(alice, run)
    assert commits(alice) == 2


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
