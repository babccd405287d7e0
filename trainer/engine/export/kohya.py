"""A LoRA in the naming of kohya's scripts, which AUTOMATIC1111, ComfyUI and diffusers all read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import save_file

from trainer.bases import FamilyName

_PREFIXES: dict[FamilyName, dict[str, str]] = {
    "stable-diffusion": {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"},
    "stable-diffusion-xl": {
        "unet": "lora_unet_",
        "text_encoder": "lora_te1_text_model_",
        "text_encoder_2": "lora_te2_text_model_",
    },
}


def write_kohya_lora(
    adapters: dict[str, dict[str, torch.Tensor]],
    alphas: dict[str, dict[str, float]],
    target: Path,
    *,
    family: FamilyName,
    text_width: int,
) -> None:
    """Write peft weights and alphas, given by part (`unet`, `text_encoder`) and name; an alpha stands beside each pair.

    `text_width` is that of the text states that the denoiser attends to. The metadata names the rank and the alpha of
    most layers, and what model they are for.
    """
    tensors: dict[str, torch.Tensor] = {}
    ranks: list[int] = []
    for part, weights in adapters.items():
        for name, tensor in weights.items():
            layer, matrix = name.rsplit(".lora_", 1)
            stem = _PREFIXES[family][part] + layer.removeprefix("text_model.").replace(".", "_")
            way = {"A.weight": "down", "B.weight": "up"}[matrix]
            if way == "down":
                ranks.append(tensor.shape[0])
            tensors[f"{stem}.lora_{way}.weight"] = tensor.detach().float().cpu().contiguous()
            tensors[f"{stem}.alpha"] = torch.tensor(alphas[part][layer])
    said = [alpha for part in alphas.values() for alpha in part.values()]
    metadata = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": _most_frequent(ranks),
        "ss_network_alpha": _most_frequent(said),
        "ss_output_name": target.stem,
        "format": "pt",
        **_said_of_model(family, text_width),
    }
    save_file(tensors, target, metadata=metadata)


def _most_frequent(numbers: list[int] | list[float]) -> str:
    """Of equally frequent ones, the number that comes first."""
    return str(Counter(numbers).most_common(1)[0][0])


def _said_of_model(family: FamilyName, text_width: int) -> dict[str, str]:
    """The model's version, which AUTOMATIC1111 hides a LoRA by: one that says nothing of it passes for 1.x there."""
    if family == "stable-diffusion-xl":
        return {"ss_base_model_version": "sdxl_base_v1-0", "ss_v2": "False"}
    match text_width:
        case 1024:
            return {"ss_base_model_version": "sd_v2", "ss_v2": "True"}
        case 768:
            return {"ss_base_model_version": "sd_v1", "ss_v2": "False"}
        case _:  # none of the published models
            return {}
