"""How much disk a training takes, before it begins, and whether there is so much."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from trainer.bases import FamilyName, find_base
from trainer.errors import BaseModelError, RequestError
from trainer.recipe.choices import STARTER, AdaptedLayers, Optimizer
from trainer.recipe.config import DreamBoothLoraRecipe, TextualInversionRecipe, TrainConfig
from trainer.single_file_base import inspect_local

_GB = 10**9


@dataclass(frozen=True)
class _Size:
    """What one file of a result weighs: by vectors' width, by a LoRA's rank, and as a whole model in fp16.

    A LoRA's bytes are those of fp32 adapters on the denoiser's attention, on all its layers, and on the text encoders.
    """

    text_width: int
    attention_bytes_a_rank: int
    all_bytes_a_rank: int
    text_bytes_a_rank: int
    model_bytes: int


_SIZES = {
    "starter": _Size(160, 94_000, 420_000, 16_000, 30_000_000),
    "stable-diffusion": _Size(768, 800_000, 4_210_000, 300_000, 2_130_000_000),
    "stable-diffusion-xl": _Size(2048, 5_810_000, 12_300_000, 1_610_000, 6_940_000_000),
}


def result_bytes(recipe: TrainConfig) -> int:
    """About how large the result will be: once for diffusers, once for other tools."""
    return 2 * _weights_bytes(recipe)


def training_bytes(recipe: TrainConfig) -> int:
    """About how much a training takes at most, its result included.

    A checkpoint holds fp32 weights, AdamW's two states for each of them and, with an average, the averaged weights. A
    new one is written before the oldest is removed, and a result before an earlier one.
    """
    whole = not isinstance(recipe, TextualInversionRecipe | DreamBoothLoraRecipe)
    trained = _weights_bytes(recipe) * (2 if whole else 1)  # whole models are written in fp16
    states = 0.5 if recipe.optimizer is Optimizer.adamw_8bit else 2.0
    checkpoint = trained * (1 + states + (1 if recipe.ema_decay else 0))
    count = recipe.keep_checkpoints + 1 if recipe.checkpoint_every_steps else 1
    return int(2 * result_bytes(recipe) + count * checkpoint)


def check_disk(recipe: TrainConfig, folder: Path) -> None:
    """Raise RequestError where the disk of `folder` has less free than the training needs."""
    needed, free = training_bytes(recipe), free_bytes(folder)
    if free < needed:
        raise RequestError(
            f"The disk is too full: this training needs about {needed / _GB:.1f} GB, and {free / _GB:.1f} GB are free."
        )


def free_bytes(folder: Path) -> int:
    """What is free on the disk that a folder, made yet or not, is on."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def _weights_bytes(recipe: TrainConfig) -> int:
    """About how large one file of the result is."""
    size = _SIZES["starter" if recipe.base == STARTER else _family(recipe)]
    if isinstance(recipe, TextualInversionRecipe):
        return recipe.vectors * size.text_width * 4 + 200
    if isinstance(recipe, DreamBoothLoraRecipe):
        on_all = recipe.adapted_layers is AdaptedLayers.all
        of_denoiser = size.all_bytes_a_rank if on_all else size.attention_bytes_a_rank
        return recipe.rank * (of_denoiser + (size.text_bytes_a_rank if recipe.text_encoder_share else 0))
    return min(size.model_bytes, _stored_bytes(recipe.base))


def _family(recipe: TrainConfig) -> FamilyName:
    """That of a base on this machine; of one that is not here yet, what its name and its pictures' size suggest."""
    try:
        base = find_base(recipe.base)
        if not base.on_hub:
            return inspect_local(base).family
    except BaseModelError:  # whoever opens it says what is wrong with it
        pass
    seems_xl = "xl" in recipe.base.lower() or recipe.resolution_px > 768
    return "stable-diffusion-xl" if seems_xl else "stable-diffusion"


def _stored_bytes(name: str) -> int:
    """What a base on this machine weighs at most; endless for one that is not here."""
    try:
        base = find_base(name)
    except BaseModelError:  # whoever opens it says what is wrong with it
        return sys.maxsize
    if base.file is not None:
        return base.file.stat().st_size
    if base.folder is not None:
        return sum(file.stat().st_size for file in base.folder.glob("*/*.safetensors"))
    return sys.maxsize
