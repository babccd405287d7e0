"""Optimizer and learning-rate schedule of a run."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import torch

from trainer.engine.methods import ParameterGroup
from trainer.recipe.choices import Optimizer, Schedule
from trainer.recipe.config import TrainConfig

log = logging.getLogger(__name__)
Warn = Callable[[str], None]


def build_optimizer(recipe: TrainConfig, groups: list[ParameterGroup], warn: Warn) -> torch.optim.Optimizer:
    """AdamW over the groups, with 8-bit states if asked for and able to run; else says so and takes fp32 states."""
    parameters = [{"params": g.parameters, "lr": g.learning_rate} for g in groups]
    if recipe.optimizer is Optimizer.adamw_8bit:
        device = groups[0].parameters[0].device
        if (kind := _working_8bit(device)) is not None:
            return kind(parameters, weight_decay=recipe.weight_decay)
        warn("8-bit AdamW does not run on this machine; going on with fp32 states, which need more memory.")
    return torch.optim.AdamW(parameters, weight_decay=recipe.weight_decay, fused=True)


def _working_8bit(device: torch.device) -> Any:
    """bitsandbytes' AdamW8bit class if one step of it changes a parameter on this device, else None."""
    try:
        from bitsandbytes.optim import AdamW8bit  # noqa: PLC0415 - optional, and slow to import

        trial = torch.nn.Parameter(torch.ones(4096, device=device))  # smaller tensors keep 32-bit states
        optimizer = AdamW8bit([trial], lr=0.1)
        trial.sum().backward()
        optimizer.step()
        if torch.isfinite(trial).all() and not torch.equal(trial, torch.ones_like(trial)):
            return AdamW8bit
    except (ImportError, RuntimeError, NotImplementedError, AttributeError, OSError) as error:
        log.info("bitsandbytes does not run here: %s", error)
    return None


def load_states(optimizer: torch.optim.Optimizer, stored: dict[str, Any], warn: Warn) -> None:
    """Go on with a checkpoint's states; those of the other AdamW, 8-bit or not, are no use: they begin anew."""
    is_fp32 = isinstance(getattr(optimizer, "optimizer", optimizer), torch.optim.AdamW)
    # looked for under PyTorch's name only: where bitsandbytes puts its own differs from version to version
    if all(("exp_avg" in states) is is_fp32 for states in stored["state"].values()):
        optimizer.load_state_dict(stored)
    else:
        warn("Another kind of AdamW wrote the checkpoint: its weights are kept, the optimizer's states begin anew.")


def learning_rate_factor(recipe: TrainConfig, step: int) -> float:
    """The share of the peak learning rate at a step (0-based): linear warm-up, then the recipe's schedule."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    left = 1 - (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    match recipe.schedule:
        case Schedule.constant:
            return 1.0
        case Schedule.linear:
            return max(0.0, left)
        case Schedule.cosine:
            return 0.5 * (1 - math.cos(math.pi * max(0.0, left)))


def set_learning_rates(
    optimizer: torch.optim.Optimizer, groups: list[ParameterGroup], recipe: TrainConfig, step: int, scale: float
) -> None:
    """Set every group's rate for a step; a group whose steps are over gets 0."""
    factor = learning_rate_factor(recipe, step) * scale
    for target, group in zip(optimizer.param_groups, groups, strict=True):
        target["lr"] = group.learning_rate * factor if step < group.steps else 0.0
