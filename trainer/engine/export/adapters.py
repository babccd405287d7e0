"""LoRA adapters as files, whoever made them: the one that diffusers loads, and the one in kohya's naming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.utils import convert_state_dict_to_diffusers
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

from trainer.artifact import portable_file
from trainer.bases import family_of, text_width_of
from trainer.engine.export.kohya import write_kohya_lora
from trainer.engine.export.pipeline_folder import by_part
from trainer.engine.families import StockPipeline, stock_pipeline

ADAPTER = "default"
_TOLD = ("r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern")
"""Of peft's configuration: diffusers hands all that is written to peft, and an older one knows fewer fields."""


def write_adapters(folder: Path, name: str, adapted: dict[str, Any], base: Path) -> None:
    """Write the adapters called ADAPTER in these modules of the model in `base`, by part: `unet`, `text_encoder`."""
    layers, metadata = {}, {}
    for part, module in adapted.items():
        layers[f"{part}_lora_layers"] = _portable(get_peft_model_state_dict(module, adapter_name=ADAPTER), part)
        # alpha travels in the metadata; without it a loader assumes alpha = rank
        config = module.peft_config[ADAPTER].to_dict()
        told = {key: config[key] for key in _TOLD}
        targets = told["target_modules"]  # a set, which has no order, or a regular expression
        ordered = targets if isinstance(targets, str) else sorted(targets)
        metadata[f"{part}_lora_adapter_metadata"] = told | {"target_modules": ordered}
    stock_pipeline(base).save_lora_weights(folder, **layers, **metadata)
    weights = {part: get_peft_model_state_dict(module, adapter_name=ADAPTER) for part, module in adapted.items()}
    alphas = {part: alphas_of(module) for part, module in adapted.items()}
    write_kohya_lora(
        weights, alphas, portable_file(folder, name), family=family_of(base), text_width=text_width_of(base)
    )


def alphas_of(module: torch.nn.Module) -> dict[str, float]:
    """The alpha of each adapted layer, by the layer's name."""
    return {name: float(layer.lora_alpha[ADAPTER]) for name, layer in adapted_layers(module, ADAPTER).items()}


def adapted_layers(module: torch.nn.Module, adapter: str) -> dict[str, LoraLayer]:
    """The layers of a module that an adapter is on, by name."""
    return {
        name: layer for name, layer in module.named_modules() if isinstance(layer, LoraLayer) and adapter in layer.r
    }


def adapters_are_in(pipeline: StockPipeline, adapted: dict[str, Any]) -> bool:
    """Whether a stock pipeline has exactly these adapters loaded, and scales them alike."""
    for part, module in adapted.items():
        loaded = getattr(pipeline, part)
        (adapter,) = loaded.peft_config
        theirs = get_peft_model_state_dict(loaded, adapter_name=adapter)
        ours = get_peft_model_state_dict(module, adapter_name=ADAPTER)
        if theirs.keys() != ours.keys() or _scales(loaded, adapter) != _scales(module, ADAPTER):
            return False
        if not all(torch.equal(theirs[name].float().cpu(), ours[name].float().cpu()) for name in ours):
            return False
    return True


def put_adapter(pipeline: StockPipeline, adapter: str, weights: dict[str, torch.Tensor]) -> None:
    """Other weights, by part and peft's names as in `unet.NAME`, for an adapter that is loaded in a stock pipeline."""
    for part, own in by_part(weights).items():
        set_peft_model_state_dict(getattr(pipeline, part), own, adapter_name=adapter)


def _scales(module: torch.nn.Module, adapter: str) -> dict[str, float]:
    """What each layer's product of matrices is multiplied with: alpha / rank."""
    return {n: layer.lora_alpha[adapter] / layer.r[adapter] for n, layer in adapted_layers(module, adapter).items()}


def _portable(layers: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    """Contiguous fp32 weights under the names that diffusers loads.

    The denoiser keeps peft's names: diffusers' older ones exist for attention layers only, and a mixture of both is
    read wrongly. The text encoder's stand under `text_model.`, a prefix that transformers 5 dropped, and all of them in
    diffusers' names: its converter leaves out the feed-forward layers, which it then does not know by themselves.
    """
    prefix = ""
    if part.startswith("text_encoder"):
        layers, prefix = convert_state_dict_to_diffusers(layers), "text_model."
        ways = {".lora_A.": ".lora_linear_layer.down.", ".lora_B.": ".lora_linear_layer.up."}
        for ours, theirs in ways.items():
            layers = {name.replace(ours, theirs): tensor for name, tensor in layers.items()}
    return {
        name if name.startswith(prefix) else prefix + name: tensor.detach().float().cpu().contiguous()
        for name, tensor in layers.items()
    }
