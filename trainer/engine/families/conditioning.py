"""What a denoiser is told of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Conditioning:
    """Of a batch of prompts: states [batch, tokens, width] and, for some families, one vector [batch, width]."""

    states: torch.Tensor
    pooled: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, part: slice) -> Conditioning:
        """Those of some of the prompts."""
        return Conditioning(self.states[part], None if self.pooled is None else self.pooled[part])

    def repeated(self, count: int) -> Conditioning:
        """One prompt's for a whole batch; a batch of that size is left as it is."""
        pooled = None if self.pooled is None else self.pooled.expand(count, -1)
        return Conditioning(self.states.expand(count, -1, -1), pooled)

    @staticmethod
    def joined(parts: Sequence[Conditioning]) -> Conditioning:
        pooled = [part.pooled for part in parts if part.pooled is not None]
        return Conditioning(torch.cat([part.states for part in parts]), torch.cat(pooled) if pooled else None)
