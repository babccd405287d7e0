"""Which family a base model belongs to, loaded."""

from __future__ import annotations

from pathlib import Path

import torch

from trainer.bases import inspect_base
from trainer.engine.families.base import Family
from trainer.engine.families.stable_diffusion import StableDiffusion
from trainer.engine.families.stable_diffusion_xl import StableDiffusionXL


def open_family(folder: Path, *, device: torch.device, dtype: torch.dtype) -> Family:
    """Load the base in `folder`, everything frozen. Raises BaseModelError for a family that is not built."""
    match inspect_base(folder).family:
        case "stable-diffusion":
            return StableDiffusion(folder, device=device, dtype=dtype)
        case "stable-diffusion-xl":
            return StableDiffusionXL(folder, device=device, dtype=dtype)
