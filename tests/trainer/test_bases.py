from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from trainer.bases import STARTER_FOLDER, find_base, inspect_base, knows_word
from trainer.errors import BaseModelError
from trainer.hub_cache import newest_copy


@pytest.fixture
def base(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "base"))


def test_traits_are_read_from_the_models_own_files(tiny_model: Path, tiny_v_model: Path) -> None:
    assert inspect_base(tiny_model).prediction == "epsilon"
    assert inspect_base(tiny_v_model).prediction == "v_prediction"
    assert inspect_base(tiny_model).resolution_px == 64


def test_identity_follows_the_weights(base: Path, tiny_model: Path, tiny_v_model: Path) -> None:
    assert inspect_base(base).identity == inspect_base(tiny_model).identity
    assert inspect_base(base).identity != inspect_base(tiny_v_model).identity
    denoiser = base / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(denoiser.read_bytes())
    content[-len(content) // 3] ^= 1  # far behind the header
    denoiser.write_bytes(content)
    assert inspect_base(base).identity != inspect_base(tiny_model).identity


@pytest.mark.parametrize(
    "file", ["safety_checker/config.json", "unet/diffusion_pytorch_model.fp16.safetensors", "text_encoder/notes.txt"]
)
def test_identity_stays_where_another_program_fetches_more_of_the_model(base: Path, file: str) -> None:
    before = inspect_base(base).identity
    (base / file).parent.mkdir(exist_ok=True)
    (base / file).write_text("{}")
    assert inspect_base(base).identity == before


def test_identity_of_the_starter_is_the_one_that_evidence_and_concepts_name() -> None:
    assert inspect_base(STARTER_FOLDER).identity == "7fd1b49201bd15bb"


@pytest.mark.parametrize(
    "name", ["nothing", "", " ", "a/b/c", "../x/y", "owner/mo..del", "weights.safetensors", "x.ckpt"]
)
def test_what_is_no_base_is_refused_in_words(name: str) -> None:
    with pytest.raises(BaseModelError):
        find_base(name)


@pytest.mark.parametrize(
    "pasted", ["owner/model ", "https://huggingface.co/owner/model", "https://hf.co/owner/model/tree/main?x=1#y"]
)
def test_pasted_hub_page_is_its_model(pasted: str) -> None:
    assert find_base(pasted).name == "owner/model"


def test_hub_id_and_folder_are_told_apart(tiny_model: Path) -> None:
    assert find_base("owner/model").on_hub
    assert find_base(str(tiny_model)).folder == tiny_model


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.fault(25)
def test_other_families_are_named(base: Path) -> None:
    change(base / "model_index.json", _class_name="StableDiffusion3Pipeline")
    with pytest.raises(BaseModelError, match="Stable Diffusion 3"):
        inspect_base(base)


@pytest.mark.fault(25)
@pytest.mark.parametrize("scheduler", ["EDMDPMSolverMultistepScheduler", "FlowMatchEulerDiscreteScheduler"])
def test_models_that_are_noised_in_another_way_are_refused(base: Path, scheduler: str) -> None:
    change(base / "scheduler" / "scheduler_config.json", _class_name=scheduler)
    with pytest.raises(BaseModelError, match="noised in another way"):
        inspect_base(base)


@pytest.mark.fault(24)
def test_remote_code_is_refused(base: Path) -> None:
    change(base / "model_index.json", unet=["my_own_module", "EvilUNet"])
    with pytest.raises(BaseModelError, match="its own code"):
        inspect_base(base)


@pytest.mark.fault(23)
def test_weights_that_are_not_safetensors_are_refused(base: Path) -> None:
    for file in (base / "unet").glob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))
    with pytest.raises(BaseModelError, match="Only safetensors"):
        inspect_base(base)


@pytest.mark.fault(23)
def test_variant_beside_a_pickle_is_not_taken_for_the_weights(base: Path) -> None:
    """Only the pickle would be loaded: the variant is asked for by name."""
    for file in (base / "text_encoder").glob("*.safetensors"):
        file.rename(file.with_name("model.fp16.safetensors"))
    (base / "text_encoder" / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(BaseModelError, match=r"none but of a variant: text_encoder/model\.fp16\.safetensors"):
        inspect_base(base)


def test_folder_without_index_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"model_index\.json"):
        inspect_base(tmp_path)


def as_newer_transformers_write(tokenizer: Path) -> None:
    CLIPTokenizer.from_pretrained(tokenizer).save_pretrained(tokenizer.with_name("new"))
    shutil.rmtree(tokenizer)
    tokenizer.with_name("new").rename(tokenizer)
    assert not (tokenizer / "vocab.json").exists()


def test_known_words_are_whole_tokens(tiny_model: Path, tmp_path: Path) -> None:
    assert knows_word(tiny_model, "teapot") is True
    assert knows_word(tiny_model, "red-mug") is False
    assert knows_word(tmp_path, "teapot") is None


def test_known_words_are_read_from_the_one_file_of_newer_transformers_too(base: Path) -> None:
    as_newer_transformers_write(base / "tokenizer")
    assert knows_word(base, "teapot") is True
    assert knows_word(base, "red-mug") is False
    (base / "tokenizer" / "tokenizer.json").write_text("[]")
    assert knows_word(base, "teapot") is None


def test_copy_with_the_tokenizer_of_newer_transformers_is_whole(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    copy = tmp_path / "hub" / "models--owner--model" / "snapshots" / "abc"
    as_newer_transformers_write(base / "tokenizer")
    shutil.copytree(base, copy)
    assert newest_copy(find_base("owner/model")) == copy
    (copy / "tokenizer" / "tokenizer.json").unlink()
    assert newest_copy(find_base("owner/model")) is None
