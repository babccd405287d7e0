"""DreamBooth by low-rank adapters (peft) on the denoiser and, if asked, on the text encoder's attention."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import cast_training_params
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

from trainer.engine.export.adapters import adapters_are_in, write_adapters
from trainer.engine.export.pipeline_folder import by_part
from trainer.engine.families import Family, StockPipeline
from trainer.engine.methods.base import ParameterGroup, text_encoder_steps
from trainer.recipe.choices import AdaptedLayers
from trainer.recipe.config import DreamBoothLoraRecipe

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
DENOISER_TARGETS = {
    AdaptedLayers.attention: ATTENTION,
    AdaptedLayers.all: [
        *ATTENTION,
        *("proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
        *("conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv"),
    ],
}
TEXT_TARGETS = ["q_proj", "k_proj", "v_proj", "out_proj"]


class Lora:
    """The method, prepared: adapters in place, fp32 whatever the precision of the weights they adapt."""

    def __init__(self, recipe: DreamBoothLoraRecipe, family: Family) -> None:
        self.recipe, self._base = recipe, family.folder
        self._text_steps = text_encoder_steps(recipe)
        self._adapted: dict[str, Any] = {"unet": family.unet}
        family.unet.add_adapter(self._adapter(DENOISER_TARGETS[recipe.adapted_layers]))
        if self._text_steps:
            for part, encoder in family.text_encoders.items():
                encoder.add_adapter(self._adapter(TEXT_TARGETS))
                self._adapted[part] = encoder
        for module in self._adapted.values():
            cast_training_params(module, dtype=torch.float32)
        modules = (layer for module in self._adapted.values() for layer in module.modules())
        self._layers = [layer for layer in modules if isinstance(layer, BaseTunerLayer)]

    def _adapter(self, targets: list[str]) -> LoraConfig:
        recipe = self.recipe
        return LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha or recipe.rank,  # type: ignore[arg-type] - peft scales by any number
            init_lora_weights="gaussian",
            target_modules=targets,
        )

    def groups(self) -> list[ParameterGroup]:
        recipe = self.recipe
        groups = [ParameterGroup(_trained(self._adapted["unet"]), recipe.learning_rate, recipe.steps)]
        if self._text_steps:
            rate = recipe.text_encoder_learning_rate or recipe.learning_rate
            text = [p for part, module in self._adapted.items() if part != "unet" for p in _trained(module)]
            groups.append(ParameterGroup(text, rate, self._text_steps))
        return groups

    def trains_text(self, step: int) -> bool:
        return step < self._text_steps

    @contextmanager
    def untrained(self) -> Generator[None]:
        """While entered, the base's parts are as they were."""
        self._switch(off=True)
        try:
            yield
        finally:
            self._switch(off=False)

    def _switch(self, *, off: bool) -> None:
        # in every forward pass: peft's own switch looks through all of a model, and changes each weight's requires_grad
        for layer in self._layers:
            layer._disable_adapters = off  # noqa: SLF001

    def tensors(self) -> dict[str, torch.Tensor]:
        return {
            f"{part}.{name}": tensor.detach()
            for part, module in self._adapted.items()
            for name, tensor in get_peft_model_state_dict(module).items()
        }

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        stored = by_part(tensors)
        for part, module in self._adapted.items():
            own = stored.get(part, {})
            missing = get_peft_model_state_dict(module).keys() - own.keys()
            if missing:
                raise KeyError(f"adapter weights are missing: {sorted(missing)[:3]}")
            set_peft_model_state_dict(module, own)

    def write(self, folder: Path) -> None:
        write_adapters(folder, self.recipe.name, self._adapted, self._base)

    def is_loaded_in(self, pipeline: StockPipeline) -> bool:
        return adapters_are_in(pipeline, self._adapted)


def _trained(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]
