"""Presets: a whole recipe for every kind x method, on the starter model and on full-size Stable Diffusion."""

from __future__ import annotations

from typing import Any

from trainer.bases import BaseTraits
from trainer.recipe.build import build_recipe
from trainer.recipe.choices import DEFAULT_CLASS_WORD, STARTER, Kind, Method
from trainer.recipe.config import TrainConfig

# The starter is small: many quick steps at high rates, so that two CPU cores are done in minutes. It draws its own
# classes too roughly for pictures of them to be worth preserving, hence no prior.
_STARTER: dict[Method, dict[str, Any]] = {
    Method.textual_inversion: {
        "steps": 350,
        "learning_rate": 2e-2,
        "batch_size": 8,
        "vectors": 16,  # as many as the words that the starter learnt to read a picture's looks from
        "schedule": "cosine",
        "weight_decay": 0.0,
        "preview_every_steps": 70,
        "checkpoint_every_steps": 70,
        "keep_checkpoints": 5,  # all: they are small, and a grid shows them side by side
    },
    Method.dreambooth_lora: {
        "steps": 350,
        "learning_rate": 2e-3,
        "batch_size": 8,
        "rank": 16,
        "adapted_layers": "all",
        "schedule": "cosine",
        "prior_weight": 0.0,
        "preview_every_steps": 70,
        "checkpoint_every_steps": 70,
        "keep_checkpoints": 5,
    },
    Method.dreambooth: {
        "steps": 600,
        "learning_rate": 5e-4,
        "batch_size": 8,
        "schedule": "cosine",
        "prior_weight": 0.0,
        "preview_every_steps": 100,
        "checkpoint_every_steps": 200,
    },
}

# What is said of a background, or changes, or counts little is not learnt as a part of the thing; a LoRA learns more of
# the thing where photos' prompts do not say it (RESULTS.md).
_APART_FROM_PLACES = {"name_background": True, "plain_background_share": 0.5, "background_weight": 0.3}
_STARTER_THING: dict[Method, dict[str, Any]] = {
    Method.textual_inversion: _APART_FROM_PLACES,
    Method.dreambooth_lora: {**_APART_FROM_PLACES, "name_background": False},
    Method.dreambooth: _APART_FROM_PLACES,
}
# A style is in every part of a picture, either way round; a LoRA takes twice the rate (assets/evidence/sweep.md).
_STYLE_IN_PARTS = {"variants_per_photo": 4, "mirror": True}
_STARTER_STYLE: dict[Method, dict[str, Any]] = {
    Method.textual_inversion: _STYLE_IN_PARTS,
    Method.dreambooth_lora: {**_STYLE_IN_PARTS, "learning_rate": 4e-3},
    Method.dreambooth: _STYLE_IN_PARTS,
}

# Stable Diffusion 1.x and 2.x. Rates and steps are the ones that the field's tools agree on most.
_FULL_SIZE: dict[Method, dict[str, Any]] = {
    Method.textual_inversion: {
        "steps": 1500,
        "learning_rate": 5e-3,
        "batch_size": 2,
        "vectors": 4,
        "schedule": "cosine",
        "weight_decay": 0.0,
        "preview_every_steps": 250,
        "checkpoint_every_steps": 250,
        "keep_checkpoints": 6,
    },
    Method.dreambooth_lora: {
        "steps": 800,
        "learning_rate": 1e-4,
        "batch_size": 1,
        "rank": 16,
        "min_snr_gamma": 5.0,
        "schedule": "cosine",
        "preview_every_steps": 100,
        "checkpoint_every_steps": 200,
        "keep_checkpoints": 4,
    },
    Method.dreambooth: {
        "steps": 800,
        "learning_rate": 2e-6,
        "batch_size": 1,
        "schedule": "constant",
        "gradient_checkpointing": True,
        "optimizer": "adamw-8bit",
        "prior_weight": 1.0,
        "class_images": 100,
        "preview_every_steps": 100,
        "checkpoint_every_steps": 400,
        "keep_checkpoints": 1,
    },
}

# Stable Diffusion XL: a LoRA at the rate of diffusers' README_sdxl (1e-4), with steps between its 500 and lora-ease's
# 1,500; textual inversion at the rate of invoke-training (2e-3); the whole denoiser at 1e-6 with frozen text encoders,
# as published recipes do. Activations are computed again everywhere: at 1024 px they are what takes the memory.
_XL_CHANGES: dict[Method, dict[str, Any]] = {
    Method.textual_inversion: {"learning_rate": 2e-3, "batch_size": 1},
    Method.dreambooth_lora: {"steps": 1000},
    Method.dreambooth: {"learning_rate": 1e-6},
}
_XL = {
    method: {**_FULL_SIZE[method], "gradient_checkpointing": True, **changes} for method, changes in _XL_CHANGES.items()
}

MOST_PX = 1024
"""The largest pictures that a preset trains on, or a concept is tried at."""
_STYLE_WITHOUT_CLASS = {"prior_weight": 0.0}
# Of the steps: faces gain most from a trained text encoder, styles least (the proportions of the ancestor Space).
_FULL_SIZE_TEXT_SHARE = {Kind.person: 0.6, Kind.pet: 0.3, Kind.object: 0.3, Kind.style: 0.15}


def preset_values(method: Method, kind: Kind, traits: BaseTraits | None) -> dict[str, Any]:
    """The preset's values; name and base are the caller's. Without traits (a Hub base not here yet) it is full size."""
    starter = traits is not None and traits.starter
    is_xl = traits is not None and traits.family == "stable-diffusion-xl"
    table = _STARTER if starter else _XL if is_xl else _FULL_SIZE
    values: dict[str, Any] = {"method": method, "kind": kind, "class_word": DEFAULT_CLASS_WORD[kind]}
    values |= {"resolution_px": min(traits.resolution_px, MOST_PX) if traits else 512} | table[method]
    if method is Method.dreambooth and not starter and not is_xl:
        values["text_encoder_share"] = _FULL_SIZE_TEXT_SHARE[kind]
    if starter:
        values |= (_STARTER_STYLE if kind is Kind.style else _STARTER_THING).get(method, {})
    if kind is Kind.style and method is not Method.textual_inversion:
        values |= _STYLE_WITHOUT_CLASS
    return values


def preset_recipe(
    method: Method, kind: Kind, traits: BaseTraits | None, *, name: str, base: str = STARTER, **overrides: Any
) -> TrainConfig:
    """A whole recipe: the preset, with the values that the person chose over it. Raises RecipeError."""
    return build_recipe({**preset_values(method, kind, traits), "name": name, "base": base, **overrides})


def sampler_values(*, starter: bool) -> dict[str, Any]:
    """How to sample by default: the starter is content with less guidance than a full-size model."""
    return {"steps": 20, "guidance": 4.0 if starter else 7.0, "scheduler": "DPM++ 2M"}
