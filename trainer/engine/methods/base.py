"""What every method offers, and which method a recipe asks for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from trainer.engine.families import Family, StockPipeline
from trainer.recipe.config import DreamBoothLoraRecipe, DreamBoothRecipe, TextualInversionRecipe, TrainConfig


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate; trained for the first `steps` steps of the run."""

    parameters: list[torch.nn.Parameter]
    learning_rate: float
    steps: int


class Method(Protocol):
    """A way of learning, prepared on a family's parts."""

    def groups(self) -> list[ParameterGroup]:
        """What is trained, all of it fp32."""
        ...

    def trains_text(self, step: int) -> bool:
        """Whether text states at this step (0-based) depend on trained parameters, so that they cannot be cached."""
        ...

    def tensors(self) -> dict[str, torch.Tensor]:
        """The trained weights by name, as they are; what a checkpoint stores."""
        ...

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put stored weights in place. Raises KeyError or RuntimeError where they do not fit."""
        ...

    def write(self, folder: Path) -> None:
        """Write the artifact's files."""
        ...

    def is_loaded_in(self, pipeline: StockPipeline) -> bool:
        """Whether a stock pipeline that opened those files holds exactly the trained weights."""
        ...


def prepare_method(recipe: TrainConfig, family: Family) -> Method:
    """Make the family's parts trainable as the recipe asks. Random starts follow from the recipe's seed."""
    from trainer.engine.methods.dreambooth import DreamBooth  # noqa: PLC0415 - they import this module
    from trainer.engine.methods.lora import Lora  # noqa: PLC0415
    from trainer.engine.methods.textual_inversion import TextualInversion  # noqa: PLC0415

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


def text_encoder_steps(recipe: DreamBoothLoraRecipe | DreamBoothRecipe) -> int:
    """For how many of the first steps the text encoder is trained."""
    return round(recipe.steps * recipe.text_encoder_share)
