from __future__ import annotations

import pytest

from trainer.errors import WeightsError
from trainer.imports.hub_choice import WHOLE_FOLDER, choose_file

TWO_FILES = {"learned_embeds.safetensors": 9, "learned_embeds_2.safetensors": 9}
MODEL = {"model_index.json": 1, "unet/diffusion_pytorch_model.safetensors": 100, "vae/x.safetensors": 1}


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        ({"README.md": 1, "learned_embeds.safetensors": 9, "other.safetensors": 9}, "learned_embeds.safetensors"),
        ({"pytorch_lora_weights.safetensors": 9, "mug.safetensors": 9}, "pytorch_lora_weights.safetensors"),
        (MODEL, WHOLE_FOLDER),
        ({"mug.safetensors": 9, "mug.pt": 9, "README.md": 1}, "mug.safetensors"),
        ({"learned_embeds.bin": 9, "token_identifier.txt": 1}, "learned_embeds.bin"),
        ({"style.pt": 9}, "style.pt"),
        ({"learned_embeds_2.safetensors": 9}, "learned_embeds_2.safetensors"),
    ],
)
def test_the_concept_of_a_repository_is_found(files: dict[str, int], chosen: str) -> None:
    assert choose_file(files, None, "a/b") == chosen


@pytest.mark.parametrize(
    ("files", "wanted", "words"),
    [
        ({"a.safetensors": 1, "b.safetensors": 1}, None, "Say which: a/b:FILE"),
        ({"README.md": 1}, None, "no weights"),
        (TWO_FILES, None, "a/b holds a textual inversion for Stable Diffusion XL in two files.*clip_l and clip_g"),
        (TWO_FILES, "learned_embeds_2.safetensors", "in two files"),
        ({"learned_embeds.bin": 9, "learned_embeds_2.bin": 9}, None, "in two files"),
        ({"a.safetensors": 1}, "b.safetensors", r"no file 'b\.safetensors'. It holds a\.safetensors"),
        ({"README.md": 1}, "README.md", "not a weights file"),
        ({"a.pt": 10**9}, None, "at most 0.064 GB"),
        ({"a.safetensors": 10**11}, None, "100.0 GB"),
        ({**MODEL, "unet/diffusion_pytorch_model.safetensors": 10**11}, None, "a/b has 100.0 GB"),
    ],
)
def test_what_cannot_be_chosen_is_said(files: dict[str, int], wanted: str | None, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        choose_file(files, wanted, "a/b")


def test_other_file_beside_an_inversion_in_two_files_is_chosen_by_its_name() -> None:
    assert choose_file({**TWO_FILES, "mug.safetensors": 9}, "mug.safetensors", "a/b") == "mug.safetensors"
