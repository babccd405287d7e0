"""DreamBooth by low-rank adapters (peft) on the denoiser and, if asked, on the text encoder's attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.training_utils import cast_training_params
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

from trainer.artifact import portable_file
from trainer.config import AdaptedLayers, DreamBoothLoraRecipe
from trainer.engine.export.kohya import write_kohya_lora
from trainer.engine.families import Family
from trainer.engine.methods.base import ParameterGroup, text_encoder_steps

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
        self._recipe = recipe
        self._text_steps = text_encoder_steps(recipe)
        self._adapted: dict[str, Any] = {"unet": family.unet}
        family.unet.add_adapter(self._adapter(DENOISER_TARGETS[recipe.adapted_layers]))
        if self._text_steps:
            family.text_encoder.add_adapter(self._adapter(TEXT_TARGETS))
            self._adapted["text_encoder"] = family.text_encoder
        for module in self._adapted.values():
            cast_training_params(module, dtype=torch.float32)

    def _adapter(self, targets: list[str]) -> LoraConfig:
        recipe = self._recipe
        return LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha or recipe.rank,  # type: ignore[arg-type] - peft scales by any number
            init_lora_weights="gaussian",
            target_modules=targets,
        )

    def groups(self) -> list[ParameterGroup]:
        recipe = self._recipe
        groups = [ParameterGroup(_trained(self._adapted["unet"]), recipe.learning_rate, recipe.steps)]
        if "text_encoder" in self._adapted:
            rate = recipe.text_encoder_learning_rate or recipe.learning_rate
            groups.append(ParameterGroup(_trained(self._adapted["text_encoder"]), rate, self._text_steps))
        return groups

    def trains_text(self, step: int) -> bool:
        return step < self._text_steps

    def tensors(self) -> dict[str, torch.Tensor]:
        return {
            f"{part}.{name}": tensor.detach()
            for part, module in self._adapted.items()
            for name, tensor in get_peft_model_state_dict(module).items()
        }

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        for part, module in self._adapted.items():
            prefix = f"{part}."
            own = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            missing = get_peft_model_state_dict(module).keys() - own.keys()
            if missing:
                raise KeyError(f"adapter weights are missing: {sorted(missing)[:3]}")
            set_peft_model_state_dict(module, own)

    def write(self, folder: Path) -> None:
        layers, metadata = {}, {}
        for part, module in self._adapted.items():
            layers[f"{part}_lora_layers"] = _portable(get_peft_model_state_dict(module), part)
            # alpha travels in the metadata; without it a loader assumes alpha = rank
            adapter = {**module.peft_config["default"].to_dict(), "base_model_name_or_path": None}
            metadata[f"{part}_lora_adapter_metadata"] = adapter
        StableDiffusionPipeline.save_lora_weights(folder, **layers, **metadata)
        adapters = {part: get_peft_model_state_dict(module) for part, module in self._adapted.items()}
        recipe = self._recipe
        target = portable_file(folder, recipe.name)
        write_kohya_lora(adapters, target, alpha=recipe.alpha or recipe.rank, rank=recipe.rank)

    def is_loaded_in(self, pipeline: StableDiffusionPipeline) -> bool:
        for part, module in self._adapted.items():
            loaded = getattr(pipeline, part)
            (adapter,) = loaded.peft_config
            theirs = get_peft_model_state_dict(loaded, adapter_name=adapter)
            ours = get_peft_model_state_dict(module)
            config, own = loaded.peft_config[adapter], module.peft_config["default"]
            same_scale = config.lora_alpha / config.r == own.lora_alpha / own.r
            if not same_scale or theirs.keys() != ours.keys():
                return False
            if not all(torch.equal(theirs[name].float().cpu(), ours[name].float().cpu()) for name in ours):
                return False
        return True


def _portable(layers: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    """Contiguous fp32 weights under the names that diffusers loads.

    The denoiser keeps peft's names: diffusers' older ones exist for attention layers only, and a mixture of both is
    read wrongly. The text encoder's stand under `text_model.`, a prefix that transformers 5 dropped.
    """
    prefix = ""
    if part == "text_encoder":
        layers, prefix = convert_state_dict_to_diffusers(layers), "text_model."
    return {
        name if name.startswith(prefix) else prefix + name: tensor.detach().float().cpu().contiguous()
        for name, tensor in layers.items()
    }


def _trained(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]
