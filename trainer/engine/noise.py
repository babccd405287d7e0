"""Random numbers keyed by what they are for.

A draw depends on (seed, step, name) alone, never on what was drawn before: a resumed run therefore sees the numbers
of the uninterrupted one, and a reference trainer can be given the same ones.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from trainer.engine.transfers import to_device


def key_of(seed: int, step: int, name: str) -> int:
    """A 63-bit key of the triple."""
    digest = hashlib.sha256(f"{seed}/{step}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


class KeyedNoise:
    """Draws for one run. `step` counts forward passes, so that each pass of an accumulation window has its own."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed, self._device = seed, device

    def normal(self, step: int, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """Standard normal, drawn in fp32 on the CPU so that every device sees the same numbers."""
        return to_device(torch.randn(shape, generator=self._generator(step, name)), self._device)

    def integers(self, step: int, name: str, high: int, shape: tuple[int, ...]) -> torch.Tensor:
        """Uniform over 0 .. high - 1, int64."""
        return to_device(torch.randint(0, high, shape, generator=self._generator(step, name)), self._device)

    def choices(self, step: int, name: str) -> np.random.Generator:
        """A numpy generator for choices that never touch the device."""
        return np.random.default_rng(key_of(self._seed, step, name))

    def _generator(self, step: int, name: str) -> torch.Generator:
        return torch.Generator("cpu").manual_seed(key_of(self._seed, step, name))
