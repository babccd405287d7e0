"""The optimizer of the starter's denoiser on a CPU, where steps are dear: Muon and AdamW as one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from trainer.starter.networks import TextAndDenoiser

WEIGHT_DECAY = 0.01


class MuonAndAdamW:
    """Muon (Jordan et al. 2024) for the weights of hidden layers, AdamW for everything else, both at one rate.

    A convolution's weight is to Muon a matrix with one row for each channel that it writes. Its update has the size
    of AdamW's (Liu et al. 2025, arXiv 2502.16982).
    """

    def __init__(self, model: TextAndDenoiser) -> None:
        hidden = dict(_hidden_weights(model))
        rest = [p for name, p in model.named_parameters() if name not in hidden]
        # torch's Muon takes matrices only; these are the weights themselves, in another shape
        self._matrices = [(p, torch.nn.Parameter(p.detach().flatten(1))) for p in hidden.values()]
        matrices = [matrix for _, matrix in self._matrices]
        self._parts: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(matrices, lr=0.0, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=0.0, betas=(0.9, 0.99), weight_decay=WEIGHT_DECAY, fused=True),
        )

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self._parts for group in part.param_groups]

    def step(self) -> None:
        for weight, matrix in self._matrices:
            matrix.grad = None if weight.grad is None else weight.grad.flatten(1)
        for part in self._parts:
            part.step()

    def zero_grad(self) -> None:
        for weight, _ in self._matrices:
            weight.grad = None
        for part in self._parts:
            part.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {type(part).__name__: part.state_dict() for part in self._parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for part in self._parts:
            part.load_state_dict(state[type(part).__name__])


def _hidden_weights(model: TextAndDenoiser) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Matrices and convolutions of denoiser and text encoder, but for their first and last layers and embeddings."""
    for name, parameter in model.named_parameters():
        part, _, path = name.partition(".")
        is_inside = part in ("unet", "text_encoder") and not path.startswith(("conv_in", "conv_out"))
        if is_inside and parameter.ndim >= 2 and "embeddings" not in path:
            yield name, parameter
