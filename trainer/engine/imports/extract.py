"""A LoRA out of a full model: the best low-rank approximation of what training changed in each layer.

For a layer's change D, the projection on the leading eigenvectors U of D Dᵀ is the nearest matrix of that rank
(Eckart and Young 1936): up = U, down = Uᵀ D. The Gram matrix of the shorter side is small, so this is quick, and fp64
keeps it exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig

from trainer.engine.export.adapters import ADAPTER, adapted_layers
from trainer.engine.export.pipeline_folder import parts_of, read_part
from trainer.engine.methods.lora import DENOISER_TARGETS, TEXT_TARGETS
from trainer.errors import ConceptError
from trainer.recipe.choices import AdaptedLayers

_ENDS = ["conv_in", "conv_out", "time_embedding.linear_1", "time_embedding.linear_2"]
_DENOISER = [*DENOISER_TARGETS[AdaptedLayers.all], *_ENDS]
_TEXT = [*TEXT_TARGETS, "mlp.fc1", "mlp.fc2"]


@dataclass(frozen=True)
class Extracted:
    """Adapters by part, and the share of the whole change (Frobenius norm, all weights counted) that they hold."""

    adapted: dict[str, Any]
    kept: float


def extract_adapters(full: Path, base: Path, rank: int, device: torch.device) -> Extracted:
    """Compare a full model's folder with its base's. Raises ConceptError where nothing differs."""
    adapted: dict[str, Any] = {}
    changed = kept = 0.0
    for part in parts_of(base):
        if part == "vae":  # training leaves it as it is
            continue
        module: Any = read_part(part, base / part, torch.float32)
        tuned: Any = read_part(part, full / part, torch.float32)
        changes = _changes(module, tuned)
        del tuned
        part_changed = _energy(changes.values())
        changed += part_changed
        if part_changed:
            kept += _adapt(module, _DENOISER if part == "unet" else _TEXT, changes, rank, device)
            adapted[part] = module
    if not changed:
        raise ConceptError("This model does not differ from its base; there is nothing to extract.")
    return Extracted(adapted, math.sqrt(min(1.0, kept / changed)))


def _changes(module: torch.nn.Module, tuned: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What training added to each weight. An artifact is rounded to fp16, so the base is, too, for the comparison."""
    ours = dict(module.named_parameters())
    return {
        name: weight.detach().float() - ours[name].detach().half().float() for name, weight in tuned.named_parameters()
    }


def _energy(tensors: Any) -> float:
    return sum(float(tensor.double().square().sum()) for tensor in tensors)


def _adapt(module: Any, targets: list[str], changes: dict[str, torch.Tensor], rank: int, device: torch.device) -> float:
    """Put adapters into a module that hold its changes as well as `rank` allows; returns the energy that they hold."""
    module.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=targets), adapter_name=ADAPTER)
    kept = 0.0
    for name, layer in adapted_layers(module, ADAPTER).items():
        matrices: Any = (layer.lora_A[ADAPTER], layer.lora_B[ADAPTER])
        down, up = (matrix.weight for matrix in matrices)
        change = changes[f"{name}.weight"].to(device).double().flatten(1)
        left, right = _nearest(change, rank)
        kept += _energy([left @ right])
        with torch.no_grad():
            up.zero_()[:, : left.shape[1]] = left.reshape(*left.shape, *up.shape[2:]).to(up)
            down.zero_()[: left.shape[1]] = right.reshape(-1, *down.shape[1:]).to(down)
    return kept


def _nearest(change: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrices [out, at most rank] and [at most rank, in] whose product is nearest to the change."""
    if change.shape[0] > change.shape[1]:  # the time goes with the third power of the side that is taken
        right, left = _nearest(change.T, rank)
        return left.T, right.T
    _, vectors = torch.linalg.eigh(change @ change.T)  # ascending
    left = vectors[:, -rank:].flip(1)
    right = left.T @ change
    scale = right.norm() ** 0.5 or 1.0  # both matrices of like size, as training would leave them
    return left * scale, right / scale
