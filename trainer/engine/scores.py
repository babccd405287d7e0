"""What a run learnt, in two numbers that need no other model: the result is compared with its own base.

Both are asked at five noise levels, with noise that training never draws and that is the same for every run, so that
two runs on the same photos and base answer the same questions.

- *knows the subject*: 1 - mean over the levels of E / E0. E is the mean squared error of the trained model on the
  noised photos, prompted with the concept; E0 is the base's, prompted with the class word. 0 = no better than the base,
  1 = no error left. The photos are those that were trained on: learning them by heart scores high, too.
- *changed elsewhere*: mean over the levels of D / E0. D is the mean squared difference between both models' predictions
  for prompts without the concept, on the way that the base itself takes for them. 0 = nothing changed.

At one level the errors of a noise, a velocity and a picture prediction differ by a constant factor (Salimans and Ho
2022, arXiv 2202.00512, section 4), so the ratios mean the same for every family; and a mean over ratios keeps the
level with the largest errors from deciding alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from trainer.concept import first_prompt, words_of
from trainer.engine.cache import EncodedPictures
from trainer.engine.families import Conditioning, Family
from trainer.engine.noise import KeyedNoise
from trainer.engine.prior import class_prompt
from trainer.engine.sampling import MAX_BATCH
from trainer.recipe.config import TrainConfig

LEVELS = (0.9, 0.7, 0.5, 0.3, 0.1)
"""Places in the noise schedule, from nearly all noise to little."""
MAX_PHOTOS = 6
ELSEWHERE = ("a photo of a dog", "a photo of a house", "a photo of a tree")
_SEED = 0
_SMALLEST_ERROR = 1e-8


@dataclass(frozen=True)
class Scores:
    """Definitions are at the top of this module."""

    knows_subject: float
    changed_elsewhere: float


@dataclass(frozen=True)
class _Level:
    """The questions at one noise level, [batch, ...] in fp32, and what the base says to them."""

    timestep: int
    noisy_photos: torch.Tensor
    target: torch.Tensor
    base_error: torch.Tensor
    """E0, a scalar."""
    elsewhere: torch.Tensor
    base_elsewhere: torch.Tensor


class Scorer:
    """The questions of one run with the base's answers; made before a method touches the family.

    `between` is called while the base is asked, and may raise to stop. A pass holds no more than a preview's pass does.
    """

    def __init__(
        self, recipe: TrainConfig, family: Family, own: EncodedPictures, between: Callable[[], None] = lambda: None
    ) -> None:
        self._recipe = recipe
        word = recipe.class_word
        self._other_prompts = [class_prompt(word) if word else "a picture", *ELSEWHERE]
        self._levels = self._ask_base(family, _spread(own.mean[:, 0], MAX_PHOTOS), between)

    @torch.no_grad()
    def measure(self, family: Family) -> Scores:
        """Ask the trained model the same."""
        words = words_of(self._recipe)
        concept = family.encode_prompts([words.spell(first_prompt(self._recipe.kind, self._recipe.name))])
        others = family.encode_prompts(self._other_prompts)
        errors: list[torch.Tensor] = []
        changes: list[torch.Tensor] = []
        for level in self._levels:
            predicted = self._predict(family, level.noisy_photos, level.timestep, concept)
            errors.append(_mean_square(predicted - level.target) / level.base_error)
            predicted = self._predict(family, level.elsewhere, level.timestep, others)
            changes.append(_mean_square(predicted - level.base_elsewhere) / level.base_error)
        return Scores(1 - torch.stack(errors).mean().item(), torch.stack(changes).mean().item())

    @torch.no_grad()
    def _ask_base(self, family: Family, photos: torch.Tensor, between: Callable[[], None]) -> list[_Level]:
        noise = KeyedNoise(_SEED, family.device)
        timesteps = [int(level * family.timesteps) for level in LEVELS]
        others = family.encode_prompts(self._other_prompts)
        elsewhere = noise.normal(0, "score elsewhere", (len(others), *photos.shape[1:]))
        levels: list[_Level] = []
        for number, timestep in enumerate(timesteps):
            between()
            drawn = noise.normal(number, "score", tuple(photos.shape))
            noisy, target = family.noisy_and_target(photos, drawn, _repeated(timestep, photos))
            error = _mean_square(self._predict(family, noisy, timestep, others[:1]) - target)
            predicted = self._predict(family, elsewhere, timestep, others)
            levels.append(_Level(timestep, noisy, target, error.clamp(min=_SMALLEST_ERROR), elsewhere, predicted))
            if number + 1 < len(timesteps):
                elsewhere = _denoised(family, elsewhere, predicted, timestep, timesteps[number + 1])
        return levels

    def _predict(self, family: Family, noisy: torch.Tensor, timestep: int, prompts: Conditioning) -> torch.Tensor:
        """What the denoiser says, fp32; `prompts` are one for all or one for each."""
        prompts = prompts.repeated(len(noisy))
        parts: list[torch.Tensor] = []
        drawn_at_once = 2 * min(self._recipe.preview_count, MAX_BATCH)  # a preview's, with guidance
        at_once = max(self._recipe.batch_size, drawn_at_once)
        for begin in range(0, len(noisy), at_once):
            part = slice(begin, begin + at_once)
            mixed = family.unet.dtype != family.dtype  # fp32 masters of a run in half precision
            with torch.autocast(family.device.type, family.dtype, enabled=mixed):
                predicted = family.predict(noisy[part], _repeated(timestep, noisy[part]), prompts[part])
            parts.append(predicted.float())
        return torch.cat(parts)


def _spread(photos: torch.Tensor, count: int) -> torch.Tensor:
    """At most `count` of the photos, evenly over the set."""
    kept = min(count, len(photos))
    return photos[[number * len(photos) // kept for number in range(kept)]]


def _repeated(timestep: int, like: torch.Tensor) -> torch.Tensor:
    return torch.full((len(like),), timestep, device=like.device, dtype=torch.int64)


def _denoised(
    family: Family, noisy: torch.Tensor, predicted: torch.Tensor, timestep: int, following: int
) -> torch.Tensor:
    """The latents at the next, lower timestep: DDIM without fresh noise (Song et al. 2020, arXiv 2010.02502)."""
    abar = family.alphas_cumprod()[timestep]
    signal, sigma = abar.sqrt(), (1 - abar).sqrt()
    if family.prediction == "epsilon":
        clean, noise = (noisy - sigma * predicted) / signal, predicted
    else:
        clean, noise = signal * noisy - sigma * predicted, sigma * noisy + signal * predicted
    return family.noisy_and_target(clean, noise, _repeated(following, noisy))[0]


def _mean_square(difference: torch.Tensor) -> torch.Tensor:
    return difference.float().pow(2).mean()
