"""Text states for training: computed once a prompt while the text encoder is frozen, anew while it learns.

The text encoder is trained in the first steps of a run or not at all, so what was remembered stays true.
"""

from __future__ import annotations

import torch

from trainer.engine.families import Family


class TextStates:
    """States [batch, tokens, width] for prompts."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._known: dict[str, torch.Tensor] = {}

    def learning(self, prompts: list[str]) -> torch.Tensor:
        """With gradients; each distinct prompt is encoded once."""
        distinct = list(dict.fromkeys(prompts))
        states = self._family.encode_prompts(distinct)
        return states[[distinct.index(p) for p in prompts]]

    @torch.no_grad()
    def frozen(self, prompts: list[str]) -> torch.Tensor:
        """Without gradients, from memory where possible; always encoded one by one, so that company changes nothing."""
        for prompt in prompts:
            if prompt not in self._known:
                self._known[prompt] = self._family.encode_prompts([prompt])[0]
        return torch.stack([self._known[p] for p in prompts])
