"""Bases on the Hub, checked before anything is queued."""

from __future__ import annotations

import gc
import json
import shutil
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, constants, snapshot_download

from jobs.submission import preflight
from jobs.submission.preflight import BaseChecker, check_hub_base
from tests.hub.accounts import ALICE, BOB
from tests.hub.faults import FOREVER
from tests.hub.local_hub import LocalHub
from trainer.bases import PINNED, BaseReference, find_base, is_loaded
from trainer.errors import BaseModelError

NAME = "alice/model"
BASE = BaseReference(NAME)


@pytest.fixture
def alice(client: Callable[[str | None], HfApi], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return client(ALICE)


@pytest.fixture
def published(alice: HfApi, tiny_model: Path) -> str:
    """The tiny model as a public repository; returns its commit."""
    alice.create_repo(NAME)
    return alice.upload_folder(repo_id=NAME, folder_path=tiny_model).oid


def change(api: HfApi, path: str, content: dict[str, Any]) -> None:
    api.create_commit(NAME, [CommitOperationAdd(path, json.dumps(content).encode())], commit_message="change")


def read_index(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "model_index.json").read_text())


def check(hub: LocalHub, token: str | None = ALICE, base: BaseReference = BASE) -> preflight.HubBase:
    return check_hub_base(base, token)


def test_good_base_is_named_by_its_commit(hub: LocalHub, published: str, tiny_model: Path, tmp_path: Path) -> None:
    found = check(hub)
    assert found.commit == published
    assert found.traits is not None
    assert (found.traits.resolution_px, found.traits.prediction) == (64, "epsilon")
    files = {f.relative_to(tiny_model).as_posix(): f.stat().st_size for f in tiny_model.rglob("*") if f.is_file()}
    assert found.download_bytes == sum(size for name, size in files.items() if is_loaded(name))
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_copy_of_that_very_commit_is_not_fetched_again(hub: LocalHub, alice: HfApi, published: str) -> None:
    snapshot_download(NAME, endpoint=hub.url, token=ALICE)
    assert check(hub).download_bytes == 0
    change(alice, "model_index.json", {**read_index(Path(snapshot_download(NAME, local_files_only=True))), "note": ""})
    assert check(hub).download_bytes > 0


@pytest.mark.fault(21)
@pytest.mark.parametrize(
    ("name", "revision", "words"),
    [("alice/nothing", None, "no model alice/nothing"), (NAME, "0" * 40, "no commit 0000")],
)
def test_missing_base_is_said(hub: LocalHub, published: str, name: str, revision: str | None, words: str) -> None:
    with pytest.raises(BaseModelError, match=words):
        check(hub, base=BaseReference(name, revision=revision))


@pytest.mark.fault(22)
def test_gated_base_says_where_to_accept(hub: LocalHub, alice: HfApi, published: str) -> None:
    alice.update_repo_settings(NAME, gated="manual")
    assert check(hub, ALICE).commit == published  # whose copy stays on this machine
    with pytest.raises(BaseModelError, match=f"{hub.url}/{NAME}, accept its terms\\.$"):
        check(hub, BOB)
    with pytest.raises(BaseModelError, match=f"{hub.url}/{NAME}, accept its terms, and sign in or give a token"):
        check(hub, None)


@pytest.mark.fault(23)
def test_only_safetensors_are_loaded(hub: LocalHub, alice: HfApi, published: str) -> None:
    alice.delete_file("unet/diffusion_pytorch_model.safetensors", NAME)
    change(alice, "unet/diffusion_pytorch_model.bin", {})
    with pytest.raises(BaseModelError, match="Only safetensors"):
        check(hub)


def test_model_without_an_index_is_none(hub: LocalHub, alice: HfApi, published: str) -> None:
    alice.delete_file("model_index.json", NAME)
    with pytest.raises(BaseModelError, match=r"no model_index\.json"):
        check(hub)


@pytest.mark.fault(24, 25)
@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"_class_name": "StableDiffusion3Pipeline"}, "Stable Diffusion 3"),
        ({"_class_name": ["pipeline", "MyPipeline"]}, "its own pipeline code"),
        ({"unet": ["my_unet", "MyUNet"]}, "its own code for unet"),
    ],
)
def test_other_families_and_remote_code_are_refused(
    hub: LocalHub, alice: HfApi, published: str, tiny_model: Path, index: dict[str, Any], words: str
) -> None:
    change(alice, "model_index.json", {**read_index(tiny_model), **index})
    with pytest.raises(BaseModelError, match=words):
        check(hub)


def test_configuration_of_a_size_that_none_has_is_not_fetched(hub: LocalHub, alice: HfApi, published: str) -> None:
    change(alice, "unet/config.json", {"filler": "x" * 2**20})
    with pytest.raises(BaseModelError, match="its configuration is too large"):
        check(hub)


@pytest.mark.fault(17)
def test_full_disk_is_said_before_anything_is_fetched(
    hub: LocalHub, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 10**9, 100_000))
    with pytest.raises(BaseModelError, match="GB are free"):
        check(hub)


@pytest.mark.fault(36)
def test_hub_that_is_away_is_no_reason_where_a_copy_is_here(hub: LocalHub, published: str) -> None:
    snapshot_download(NAME, endpoint=hub.url, token=ALICE)
    hub.order_fault(".*", times=FOREVER, status=503)
    assert check(hub).commit == published
    with pytest.raises(BaseModelError, match="not on this machine"):
        check(hub, base=BaseReference("alice/other"))


@pytest.mark.fault(36)
def test_copy_that_a_broken_download_left_is_none(hub: LocalHub, published: str) -> None:
    snapshot_download(NAME, endpoint=hub.url, token=ALICE, ignore_patterns=["tokenizer/*"])
    hub.order_fault(".*", times=FOREVER, status=503)
    with pytest.raises(BaseModelError, match="not on this machine"):
        check(hub)


def test_answers_are_remembered_and_refusals_only_shortly(
    hub: LocalHub, alice: HfApi, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checker = BaseChecker(ALICE)
    for _ in range(3):
        with pytest.raises(BaseModelError):
            checker.check(BASE)
    assert len(hub.requests()) == 1
    monkeypatch.setattr(preflight, "REMEMBER_REFUSAL_S", 0.0)
    alice.create_repo(NAME)
    alice.upload_folder(repo_id=NAME, folder_path=tiny_model)
    first = checker.check(BASE)
    asked = len(hub.requests())
    assert checker.check(BASE) is first
    assert len(hub.requests()) == asked


@pytest.mark.fault(59)
def test_tokens_of_those_who_asked_are_not_kept(hub: LocalHub, published: str) -> None:
    checker = BaseChecker(None, shared=True)
    checker.check(BASE, ALICE)
    with pytest.raises(BaseModelError):
        checker.check(BaseReference("alice/nothing"), BOB)
    held = {each for each in reachable(checker) if isinstance(each, str)}
    assert NAME in held
    assert not {ALICE, BOB} & held


def reachable(thing: object) -> Iterator[object]:
    """Everything that this object keeps alive, without modules and classes."""
    seen, left = set[int](), [thing]
    while left:
        each = left.pop()
        if id(each) in seen or isinstance(each, (type, ModuleType, FunctionType)):
            continue
        seen.add(id(each))
        yield each
        left += gc.get_referents(each)


def test_well_known_bases_are_pinned() -> None:
    for name, commit in PINNED.items():
        assert find_base(name).revision == commit
        assert find_base(name, "abc1234").revision == "abc1234"
