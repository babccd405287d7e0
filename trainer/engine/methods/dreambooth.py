"""Full DreamBooth (Ruiz et al. 2022): the whole denoiser, and the text encoder for a share of the steps."""

from __future__ import annotations

from pathlib import Path

import torch

from trainer.artifact import portable_file
from trainer.engine.export.pipeline_folder import parts_are_in, read_part, write_pipeline_folder
from trainer.engine.export.single_file import write_single_file
from trainer.engine.families import Family, StockPipeline
from trainer.engine.methods.base import ParameterGroup, text_encoder_steps
from trainer.recipe.config import DreamBoothRecipe


class DreamBooth:
    """The method, prepared: fp32 masters of everything that is trained."""

    def __init__(self, recipe: DreamBoothRecipe, family: Family) -> None:
        self._recipe, self._family = recipe, family
        self._text_steps = text_encoder_steps(recipe)
        self._trained: dict[str, torch.nn.Module] = {"unet": family.unet}
        if self._text_steps:
            self._trained |= family.text_encoders
        for part, module in self._trained.items():
            module.float()
            if family.dtype is not torch.float32:  # what was loaded is rounded, and a small learning rate adds less
                module.load_state_dict(read_part(part, family.folder / part, torch.float32).state_dict())
            module.requires_grad_(requires_grad=True)

    def groups(self) -> list[ParameterGroup]:
        recipe = self._recipe
        groups = [ParameterGroup(list(self._family.unet.parameters()), recipe.learning_rate, recipe.steps)]
        if self._text_steps:
            rate = recipe.text_encoder_learning_rate or recipe.learning_rate
            parameters = [p for encoder in self._family.text_encoders.values() for p in encoder.parameters()]
            groups.append(ParameterGroup(parameters, rate, self._text_steps))
        return groups

    def trains_text(self, step: int) -> bool:
        return step < self._text_steps

    def tensors(self) -> dict[str, torch.Tensor]:
        return {
            f"{part}.{name}": parameter.detach()
            for part, module in self._trained.items()
            for name, parameter in module.named_parameters()
        }

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.tensors().items():
                parameter.copy_(tensors[name])

    def write(self, folder: Path) -> None:
        """Write a pipeline in fp16. Converts the trained parts in place: the last thing that a run does with them."""
        write_pipeline_folder(folder, like=self._family.folder, trained=self._trained)
        write_single_file(folder, portable_file(folder, self._recipe.name))

    def is_loaded_in(self, pipeline: StockPipeline) -> bool:
        return parts_are_in(pipeline, self._trained)
