"""What every method offers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from trainer.engine.families import StockPipeline
from trainer.recipe.config import DreamBoothLoraRecipe, DreamBoothRecipe


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate; trained for the first `steps` steps of the run."""

    parameters: list[torch.nn.Parameter]
    learning_rate: float
    steps: int


class TrainingMethod(Protocol):
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


def text_encoder_steps(recipe: DreamBoothLoraRecipe | DreamBoothRecipe) -> int:
    """For how many of the first steps the text encoder is trained."""
    return round(recipe.steps * recipe.text_encoder_share)
