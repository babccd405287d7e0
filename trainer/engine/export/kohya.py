"""A LoRA in the naming of kohya's scripts, which AUTOMATIC1111, ComfyUI and diffusers all read."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

_PREFIX = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}


def write_kohya_lora(adapters: dict[str, dict[str, torch.Tensor]], target: Path, *, alpha: float, rank: int) -> None:
    """Write peft weights, given by part (`unet`, `text_encoder`) and peft's name; alpha stands beside each pair."""
    tensors: dict[str, torch.Tensor] = {}
    for part, weights in adapters.items():
        for name, tensor in weights.items():
            layer, matrix = name.removeprefix("text_model.").rsplit(".lora_", 1)
            layer = _PREFIX[part] + layer.replace(".", "_")
            way = {"A.weight": "down", "B.weight": "up"}[matrix]
            tensors[f"{layer}.lora_{way}.weight"] = tensor.detach().float().cpu().contiguous()
            tensors[f"{layer}.alpha"] = torch.tensor(float(alpha))
    metadata = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(alpha),
        "ss_output_name": target.stem,
        "format": "pt",
    }
    save_file(tensors, target, metadata=metadata)
