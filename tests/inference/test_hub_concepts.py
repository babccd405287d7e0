"""`python -m inference --concept HUB_ID`: concepts of the Hub, of this app's making and of others'."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from inference.engine import Engine
from inference.request import PictureRequest
from jobs.publishing.publish import publish
from tests import ROOT
from tests.hub.accounts import ALICE
from tests.hub.local_hub import LocalHub
from tests.tiny_models import WIDTH
from tests.waiting import PATIENCE_S
from trainer.artifact import read_manifest
from trainer.engine.base.hub_download import Listing
from trainer.engine.imports.cached import cached_concept
from trainer.errors import BaseModelError, ConceptError, WeightsError
from trainer.run_folder import RunFolder


@pytest.fixture
def alice(client: Callable[[str | None], HfApi], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    """The Hub with an embedding that somebody made elsewhere: alice/Cat_Toy."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    api = client(ALICE)
    file = tmp_path / "learned_embeds.safetensors"
    save_file({"<x>": torch.randn(2, WIDTH)}, file)
    api.create_repo("alice/Cat_Toy")
    api.upload_file(repo_id="alice/Cat_Toy", path_or_fileobj=file, path_in_repo=file.name)
    return api


@pytest.mark.slow  # quick: tests/jobs/publishing/test_publish.py and the next ones
def test_published_concept_is_what_it_was_and_is_taken_in_once(
    hub: LocalHub, alice: HfApi, concepts: dict[str, RunFolder], tiny_model: Path, cache: Path
) -> None:
    run = concepts["dreambooth-lora"]
    publish(run, "alice/mug", ALICE, private=False)
    said: list[str] = []
    folders = [cached_concept("alice/mug", str(tiny_model), cache, said.append) for _ in range(2)]
    assert said == ["alice/mug is being taken in.", *["Prompts call alice/mug <red-mug>."] * 2]
    assert folders[0] == folders[1]
    ours, theirs = read_manifest(run.artifact), read_manifest(folders[0] / "artifact")
    assert (ours.trained_words, ours.kind, ours.base) == (theirs.trained_words, theirs.kind, theirs.base)
    for name in ("pytorch_lora_weights.safetensors", "red-mug.safetensors"):
        before, after = load_file(run.artifact / name), load_file(folders[0] / "artifact" / name)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)


def test_strangers_are_refused_in_words(alice: HfApi, cache: Path) -> None:
    with pytest.raises(WeightsError, match="32 numbers wide, and the base starter has 160"):
        cached_concept("alice/Cat_Toy", None, cache, lambda _line: None)
    with pytest.raises(ConceptError, match="alice/nothing"):
        cached_concept("alice/nothing", None, cache, lambda _line: None)


def test_base_that_not_everybody_may_read_is_fetched_with_the_token_of_who_asks(
    alice: HfApi, tiny_model: Path, cache: Path
) -> None:
    alice.create_repo("alice/own-model", private=True)
    alice.upload_folder(repo_id="alice/own-model", folder_path=tiny_model)
    request = PictureRequest(prompt="a cat", base="alice/own-model", width=64, height=64, steps=1, seed=1)
    engine = Engine(cache)
    with pytest.raises(BaseModelError, match="or it is private"):
        engine.generate(request)
    assert len(engine.generate(request, token=ALICE).pictures) == 1
    engine.unload()


@pytest.mark.slow  # quick: the ones above; tests/inference/test_processes.py for the command line
def test_command_line_takes_a_hub_id(hub: LocalHub, alice: HfApi, tiny_model: Path, tmp_path: Path) -> None:
    sizes = ["--width", "64", "--height", "64", "--steps", "2", "--seed", "3", "--out", str(tmp_path / "picture.png")]
    about = ["--concept", "alice/Cat_Toy=0.9", "--base", str(tiny_model), "--prompt", "a <cat-toy>"]
    made = subprocess.run(
        [sys.executable, "-m", "inference", *about, *sizes],
        cwd=ROOT,
        env={**os.environ, **hub.environment(tmp_path / "hf")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert made.returncode == 0, made.stderr
    assert "Prompts call alice/Cat_Toy <cat-toy>." in made.stderr
    assert (tmp_path / "picture.png").exists()


def test_concept_that_was_taken_in_is_used_while_the_hub_is_away(
    alice: HfApi, tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = cached_concept("alice/Cat_Toy", str(tiny_model), cache, lambda _line: None)
    monkeypatch.setattr("trainer.engine.imports.cached.list_files", _away)
    said: list[str] = []
    assert cached_concept("alice/Cat_Toy", str(tiny_model), cache, said.append) == taken
    assert "taken in before" in said[0]
    with pytest.raises(ConceptError, match="cannot be fetched"):
        cached_concept("alice/Other", str(tiny_model), cache, said.append)
    with pytest.raises(ConceptError, match="cannot be fetched"):
        cached_concept("alice/Cat_Toy", "starter", cache, said.append)


def _away(*_arguments: object) -> Listing:
    raise LocalEntryNotFoundError("away")
