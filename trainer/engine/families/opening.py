"""Which family a base model belongs to, loaded; and what stays of it when it has learnt."""

from __future__ import annotations

from pathlib import Path

import torch

from trainer.bases import family_of
from trainer.engine.families.stable_diffusion import StableDiffusion
from trainer.engine.families.stable_diffusion_xl import StableDiffusionXL


def open_family(folder: Path, *, device: torch.device, dtype: torch.dtype) -> StableDiffusion:
    """Load the base in `folder`, everything frozen. Raises BaseModelError for a family that is not built."""
    match family_of(folder):
        case "stable-diffusion":
            return StableDiffusion(folder, device=device, dtype=dtype)
        case "stable-diffusion-xl":
            return StableDiffusionXL(folder, device=device, dtype=dtype)


def keep_only_trained(family: StableDiffusion) -> None:
    """Move what was trained to the CPU and drop all other weights, so that there is room for a second copy.

    Nothing is computed with the family after this; what was trained is written and compared. The rest is dropped, not
    moved: beside a copy in fp32 it would fill the memory of small machines.
    """
    parts: list[torch.nn.Module] = [*family.text_encoders.values(), family.unet, family.vae]
    for parameter in (parameter for part in parts for parameter in part.parameters()):
        parameter.data = parameter.data.cpu() if parameter.requires_grad else parameter.data.new_empty(0)
