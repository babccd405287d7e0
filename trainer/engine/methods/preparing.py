"""Which method a recipe asks for, prepared on a family's parts."""

from __future__ import annotations

import torch

from trainer.engine.families import Family
from trainer.engine.methods.base import TrainingMethod
from trainer.engine.methods.dreambooth import DreamBooth
from trainer.engine.methods.lora import Lora
from trainer.engine.methods.textual_inversion import TextualInversion
from trainer.recipe.config import DreamBoothLoraRecipe, DreamBoothRecipe, TextualInversionRecipe, TrainConfig


def prepare_method(recipe: TrainConfig, family: Family) -> TrainingMethod:
    """Make the family's parts trainable as the recipe asks. Random starts follow from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    if recipe.gradient_checkpointing:
        family.unet.enable_gradient_checkpointing()
        family.unet.train()  # diffusers checkpoints in training mode only; the UNet has no other layer that minds
    match recipe:
        case TextualInversionRecipe():
            return TextualInversion(recipe, family)
        case DreamBoothLoraRecipe():
            return Lora(recipe, family)
        case DreamBoothRecipe():
            return DreamBooth(recipe, family)
