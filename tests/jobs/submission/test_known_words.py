"""What the page says of a name: looked up in the vocabularies that lie on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

from jobs.submission.known_words import base_knows
from trainer.bases import PINNED, BaseReference, find_base

OWN = BaseReference("alice/own")
CLIP = next(iter(PINNED))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def write_vocabulary(folder: Path, *words: str) -> None:
    (folder / "tokenizer").mkdir(parents=True)
    vocabulary = {f"{word}</w>": number for number, word in enumerate(words)}
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")


def write_copy(cache: Path, name: str, *words: str) -> None:
    write_vocabulary(cache / repo_folder_name(repo_id=name, repo_type="model") / "snapshots" / "abc", *words)


def test_copy_of_a_hub_base_is_looked_into(cache: Path) -> None:
    assert base_knows(OWN, "dog", shared=False) is None
    write_copy(cache, OWN.name, "dog")
    assert base_knows(OWN, "dog", shared=False) is True
    assert base_knows(OWN, "red-mug", shared=False) is False


def test_strangers_do_not_learn_what_another_ones_base_is_or_knows(cache: Path) -> None:
    write_copy(cache, OWN.name, "secret")
    assert base_knows(OWN, "secret", shared=True) is None
    write_copy(cache, CLIP, "dog")
    assert base_knows(OWN, "dog", shared=True) is True
    assert base_knows(BaseReference(CLIP), "red-mug", shared=True) is False


def test_base_without_a_vocabulary_here_is_judged_by_clips_and_nothing_is_called_new(
    cache: Path, tmp_path: Path
) -> None:
    write_copy(cache, CLIP, "dog")
    (tmp_path / "mine.safetensors").touch()
    file = find_base(str(tmp_path / "mine.safetensors"))
    for base in (OWN, file):
        assert base_knows(base, "dog", shared=False) is True
        assert base_knows(base, "red-mug", shared=False) is None
    write_vocabulary(tmp_path / "mine", "mug")
    assert base_knows(file, "mug", shared=False) is True
    assert base_knows(file, "dog", shared=False) is False


def test_folder_is_judged_by_its_own_alone(cache: Path, tmp_path: Path) -> None:
    write_copy(cache, CLIP, "dog")
    (tmp_path / "base").mkdir()
    base = find_base(str(tmp_path / "base"))
    assert base_knows(base, "dog", shared=False) is None
    write_vocabulary(tmp_path / "base", "mug")
    assert base_knows(base, "dog", shared=False) is False
