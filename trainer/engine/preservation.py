"""Prior preservation without class pictures: on the class word, the base's own prediction is the target.

The photos stand in for class pictures: what their noise hides is whatever the base takes the class to be, and asked for
the class alone the trained model must go on saying the same. Nothing has to be generated. ai-toolkit's "differential
output preservation" is this idea; it needs a method that can be taken out of the model, as adapters can.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from trainer.engine.families import Family
from trainer.engine.text import TextStates

Untrained = Callable[[], AbstractContextManager[None]]


class BasePrediction:
    """What the base predicts while a method trains on it; `untrained` takes the method out while it is entered."""

    def __init__(self, family: Family, untrained: Untrained) -> None:
        self._family, self._untrained = family, untrained
        self._text = TextStates(family)

    @torch.no_grad()
    def of(self, noisy: torch.Tensor, timesteps: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        """[batch, channels, height, width], as the family predicts."""
        with self._untrained():
            return self._family.predict(noisy, timesteps, self._text.frozen(prompts))

    def put_into(
        self, target: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor, prompts: list[str], own: int
    ) -> torch.Tensor:
        """The target with the base's prediction in the place of the class examples', which follow the first `own`."""
        predicted = self.of(noisy[own:], timesteps[own:], prompts[own:])
        return torch.cat([target[:own], predicted.to(target.dtype)])
