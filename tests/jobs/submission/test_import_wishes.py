"""Concepts from elsewhere are looked over before they are queued: by their headers, and by what is said of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi
from safetensors.torch import save_file

from jobs.service import JobService
from jobs.submission.bringing_in import Importer, Wish
from jobs.submission.preflight import BaseChecker
from tests.engine.one_file import widened
from tests.hub.accounts import ALICE, BOB
from tests.hub.faults import FOREVER
from tests.hub.local_hub import LocalHub
from tests.jobs.finished_run import write_finished_run
from tests.jobs.imports import about, upload
from trainer.artifact import read_manifest
from trainer.engine.export.single_file import write_single_file
from trainer.errors import BaseModelError, HubError, RecipeError, WeightsError
from trainer.imports.task import suggested_name
from trainer.recipe.choices import STARTER, Method


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"emb_params": torch.zeros(2, 1024)}, r"has 32: it seems to be for Stable Diffusion 2\.x"),
        ({"clip_l": torch.zeros(2, 768), "clip_g": torch.zeros(2, 1280)}, "Stable Diffusion XL"),
        ({"a": torch.zeros(1), "b": torch.zeros(1)}, "cannot be told"),
    ],
)
def test_file_that_does_not_fit_is_refused_before_anything_is_queued(
    service: JobService,
    importer: Importer,
    tiny_model: Path,
    tmp_path: Path,
    tensors: dict[str, torch.Tensor],
    words: str,
) -> None:
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=words):
        importer.judge_file(about(tiny_model), tmp_path / "x.safetensors", shown_name="x")


def test_whole_model_of_the_two_kinds_is_asked_about(importer: Importer, tiny_model: Path, tmp_path: Path) -> None:
    """Its weights do not tell which it is, so the base's kind is no answer."""
    write_single_file(tiny_model, tmp_path / "tiny.safetensors")
    model = widened(tmp_path / "tiny.safetensors", tmp_path / "sd2.safetensors", 1024)
    base = shutil.copytree(tiny_model, tmp_path / "base")
    config = json.loads((base / "unet" / "config.json").read_text())
    (base / "unet" / "config.json").write_text(json.dumps({**config, "cross_attention_dim": 1024}))
    with pytest.raises(WeightsError, match=r"two kinds.*base_prediction to v_prediction .* or epsilon"):
        importer.judge_file(about(base), model, shown_name="sd2")
    for kind in ("epsilon", "v_prediction"):
        bringing = importer.judge_file(about(base, base_prediction=kind), model, shown_name="sd2")
        assert bringing.task.base_prediction == kind
    with pytest.raises(RecipeError, match="base_prediction"):
        importer.judge_file(about(base, base_prediction="x"), model, shown_name="sd2")
    noted = widened(
        tmp_path / "tiny.safetensors", tmp_path / "noted.safetensors", 1024, {"modelspec.prediction_type": "v"}
    )
    assert importer.judge_file(about(base), noted, shown_name="noted").task.base_prediction is None
    as_base = about(tmp_path / "sd2.safetensors", base_prediction="v_prediction")
    assert importer.judge_file(as_base, model, shown_name="sd2").task.base_prediction == "v_prediction"


def test_what_is_said_about_it_is_checked(importer: Importer, embedding: Path, tiny_model: Path) -> None:
    with pytest.raises(RecipeError, match="2 to 40 of a-z"):
        importer.judge_file(about(tiny_model, name="My Style!"), embedding, shown_name="x")
    with pytest.raises(BaseModelError, match="no base model"):
        importer.judge_file(about(Path("nothing here")), embedding, shown_name="x")
    assert suggested_name("My Style (v2).safetensors") == "my-style-v2"
    assert suggested_name("owner/Cat_Toy") == "cat-toy"


def test_publication_of_this_app_says_itself_what_it_is(tmp_path: Path, photo_folder: Path) -> None:
    embedding = read_manifest(write_finished_run(tmp_path / "run", photo_folder).artifact)
    on_hub = embedding.base.model_copy(update={"name": "alice/base", "revision": "1" * 40})
    lora = embedding.model_copy(update={"method": Method.dreambooth_lora, "class_word": "mug", "base": on_hub})
    asked = Wish("alice/red-mug", "my-mug", kind="pet", class_word="dog")
    found = asked.corrected(lora)
    assert (found.name, found.kind, found.class_word) == ("red-mug", "object", "mug")
    assert (found.base, found.base_revision) == ("alice/base", "1" * 40)
    assert asked.corrected(embedding).name == "my-mug"
    assert replace(asked, name="").corrected(embedding).name == "red-mug"
    other = replace(asked, base="alice/other").corrected(lora)
    assert (other.base, other.base_revision, other.class_word) == ("alice/other", None, "mug")
    elsewhere = lora.model_copy(update={"base": on_hub.model_copy(update={"name": "/models/mine"})})
    assert asked.corrected(elsewhere).base == STARTER


def test_repository_is_looked_over_by_its_header_alone(
    hub: LocalHub, alice: HfApi, importer: Importer, embedding: Path, tiny_model: Path, tmp_path: Path
) -> None:
    commit = upload(alice, "alice/style", learned_embeds__safetensors=embedding)
    task = importer.judge_hub(about(tiny_model, "alice/style")).task
    assert (task.method, task.hub_revision, task.hub_file) == (
        Method.textual_inversion,
        commit,
        "learned_embeds.safetensors",
    )
    save_file({"emb_params": torch.zeros(2, 1024)}, tmp_path / "wide.safetensors")
    upload(alice, "alice/several", one__safetensors=embedding, two__safetensors=tmp_path / "wide.safetensors")
    with pytest.raises(WeightsError, match=r"holds one\.safetensors, two\.safetensors\. Say which"):
        importer.judge_hub(about(tiny_model, "alice/several"))
    assert importer.judge_hub(about(tiny_model, "alice/several:one.safetensors")).task.hub_file == "one.safetensors"
    with pytest.raises(WeightsError, match="1024 numbers wide"):
        importer.judge_hub(about(tiny_model, "alice/several:two.safetensors"))
    with pytest.raises(WeightsError, match="has no file"):
        importer.judge_hub(about(tiny_model, "alice/several:../secret"))
    with pytest.raises(WeightsError, match="nor a Hub id"):
        importer.judge_hub(about(tiny_model, str(embedding)))
    with pytest.raises(HubError, match="There is no alice/nothing"):
        importer.judge_hub(about(tiny_model, "alice/nothing"))
    hub.order_fault(".*", times=FOREVER, status=503)
    with pytest.raises(HubError):
        importer.judge_hub(about(tiny_model, "alice/style"))


@pytest.mark.fault(21)
def test_nobody_is_not_told_that_a_token_has_ended(
    hub: LocalHub, alice: HfApi, tiny_model: Path, embedding: Path
) -> None:
    upload(alice, "alice/style", learned_embeds__safetensors=embedding)
    alice.update_repo_settings("alice/style", private=True)
    nobody = Importer(BaseChecker(None), None)
    for name in ("alice/style", "alice/mistyped"):
        with pytest.raises(HubError, match=f"There is no {name} on the Hub, or it is private: then sign in"):
            nobody.judge_hub(about(tiny_model, name))


@pytest.mark.fault(22)
def test_gated_concept_says_where_to_accept(
    hub: LocalHub, alice: HfApi, importer: Importer, tiny_model: Path, tmp_path: Path
) -> None:
    """Also a pickle, which is not looked into before its job: that is where the gate would be met."""
    torch.save({"<x>": torch.zeros(1, 32)}, tmp_path / "learned_embeds.bin")
    upload(alice, "alice/gated", learned_embeds__bin=tmp_path / "learned_embeds.bin")
    alice.update_repo_settings("alice/gated", gated="manual")
    assert importer.judge_hub(about(tiny_model, "alice/gated"), ALICE).task.hub_id == "alice/gated"
    with pytest.raises(WeightsError, match=f"open {hub.url}/alice/gated, accept its terms\\.$"):
        importer.judge_hub(about(tiny_model, "alice/gated"), BOB)
