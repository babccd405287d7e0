"""Savepoints of the long training runs of this recipe: whole or absent, so that a killed run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn


def save(path: Path, state: dict[str, Any]) -> None:
    """Write aside, then rename: a kill leaves the previous savepoint in place."""
    aside = path.with_suffix(".partial")
    torch.save(state, aside)
    aside.replace(path)


def load(path: Path) -> dict[str, Any] | None:
    """The last savepoint, or None on a first start."""
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


class Average:
    """Exponential moving average of a module's parameters, with the usual short ramp at the start."""

    def __init__(self, module: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: torch.nn.Module, step: int) -> None:
        average: Any = get_ema_multi_avg_fn(min(self.decay, (1 + step) / (10 + step)))
        average(list(self.values.values()), list(module.parameters()), step)

    @torch.no_grad()
    def load(self, values: dict[str, torch.Tensor]) -> None:
        for name, value in values.items():
            self.values[name].copy_(value)

    @torch.no_grad()
    def put_into(self, module: torch.nn.Module) -> None:
        """Replace the module's parameters by their averages."""
        for name, parameter in module.named_parameters():
            parameter.copy_(self.values[name])
