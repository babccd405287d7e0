"""What a denoiser is told of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Conditioning:
    """Text states of a batch of prompts, [batch, tokens, width]."""

    states: torch.Tensor

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, part: slice | list[int]) -> Conditioning:
        """Those of some of the prompts."""
        return Conditioning(self.states[part])

    def repeated(self, count: int) -> Conditioning:
        """One prompt's for a whole batch; a batch of that size is left as it is."""
        return Conditioning(self.states.expand(count, -1, -1))

    @staticmethod
    def joined(parts: Sequence[Conditioning]) -> Conditioning:
        return Conditioning(torch.cat([part.states for part in parts]))
