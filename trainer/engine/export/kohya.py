"""A LoRA in the naming of kohya's scripts, which AUTOMATIC1111, ComfyUI and diffusers all read."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

_PREFIXES = {
    1: {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"},
    2: {"unet": "lora_unet_", "text_encoder": "lora_te1_text_model_", "text_encoder_2": "lora_te2_text_model_"},
}
"""By the number of the model's text encoders."""


def write_kohya_lora(
    adapters: dict[str, dict[str, torch.Tensor]],
    alphas: dict[str, dict[str, float]],
    target: Path,
    *,
    text_encoders: int,
) -> None:
    """Write peft weights and alphas, given by part (`unet`, `text_encoder`) and name; an alpha stands beside each pair.

    `text_encoders` is how many the model has, whether they are adapted or not.

    The metadata names the denoiser's rank and alpha, the most frequent where layers differ.
    """
    tensors: dict[str, torch.Tensor] = {}
    ranks: list[int] = []
    for part, weights in adapters.items():
        for name, tensor in weights.items():
            layer, matrix = name.rsplit(".lora_", 1)
            stem = _PREFIXES[text_encoders][part] + layer.removeprefix("text_model.").replace(".", "_")
            way = {"A.weight": "down", "B.weight": "up"}[matrix]
            if way == "down":
                ranks.append(tensor.shape[0])
            tensors[f"{stem}.lora_{way}.weight"] = tensor.detach().float().cpu().contiguous()
            tensors[f"{stem}.alpha"] = torch.tensor(alphas[part][layer])
    said = [alpha for part in alphas.values() for alpha in part.values()]
    metadata = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(max(set(ranks), key=ranks.count)),
        "ss_network_alpha": str(max(set(said), key=said.count)),
        "ss_output_name": target.stem,
        "format": "pt",
    }
    save_file(tensors, target, metadata=metadata)
