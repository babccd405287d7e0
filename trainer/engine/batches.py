"""Which pictures and which words each forward pass sees: a pure function of the seed and the pass's number.

The order is a permutation per epoch, and batches run on across epochs, so that accumulation windows stay full.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from trainer.concept import TEMPLATES, caption_prompt, training_prompt, with_article, words_of
from trainer.engine.cache import EncodedPictures
from trainer.engine.noise import KeyedNoise
from trainer.photos.colours import background_colour
from trainer.photos.intake import Photo, PhotoSet, cropped
from trainer.recipe.config import TrainConfig


@dataclass(frozen=True)
class Batch:
    """One forward pass: posteriors [batch, ...] and a prompt each. The first `own` are the concept's, then its class's.

    `place_weights` [batch, 1, height, width] is how much each place counts, 1 on average.
    """

    mean: torch.Tensor
    std: torch.Tensor
    prompts: list[str]
    own: int
    place_weights: torch.Tensor


@dataclass(frozen=True)
class PlainPictures:
    """Subjects on plain colours, and what each may be trained with."""

    pictures: EncodedPictures
    prompts: list[list[str]]


@dataclass(frozen=True)
class PriorPictures:
    """Pictures for prior preservation, and the prompt of the class that they all share."""

    pictures: EncodedPictures
    prompt: str


class Batches:
    """The batches of one run; `prompts` are what each photo may be trained with."""

    def __init__(
        self,
        recipe: TrainConfig,
        prompts: list[list[str]],
        own: EncodedPictures,
        prior: PriorPictures | None,
        noise: KeyedNoise,
        plain: PlainPictures | None = None,
    ) -> None:
        self._recipe, self._own, self._prior, self._noise = recipe, own, prior, noise
        self._prompts, self._plain = prompts, plain

    def at(self, number: int) -> Batch:
        """The batch of forward pass `number` (0-based)."""
        size = self._recipe.batch_size
        rng = self._noise.choices(number, "batch")
        own = [self._shuffled("photos", len(self._own), number * size + i) for i in range(size)]
        shown = [(self._own, photo, int(rng.integers(self._own.variants))) for photo in own]
        prompts = [_one_of(self._prompts[photo], rng) for photo in own]
        if self._plain is not None:
            for i in np.flatnonzero(rng.random(size) < self._recipe.plain_background_share).tolist():
                which = self._shuffled("plain", len(self._plain.pictures), number * size + i)
                shown[i], prompts[i] = (self._plain.pictures, which, 0), _one_of(self._plain.prompts[which], rng)
        dropped = rng.random(size) < self._recipe.caption_dropout
        prompts = ["" if drop else prompt for prompt, drop in zip(prompts, dropped, strict=True)]
        if self._prior is not None:
            taken = [self._shuffled("class", len(self._prior.pictures), number * size + i) for i in range(size)]
            shown += [(self._prior.pictures, which, 0) for which in taken]
            prompts += [self._prior.prompt] * size
        mean, std, place_weights = (
            torch.stack([getattr(pictures, part)[picture, variant] for pictures, picture, variant in shown])
            for part in ("mean", "std", "place_weights")
        )
        place_weights[size:] = 1.0  # the class is to stay as it is everywhere, also on photos that stand in for it
        return Batch(mean, std, prompts, size, place_weights)

    def _shuffled(self, name: str, count: int, position: int) -> int:
        """The picture at a position of the endless, per-epoch shuffled sequence."""
        epoch, place = divmod(position, count)
        return int(self._noise.choices(epoch, f"order of {name}").permutation(count)[place])


def _one_of(prompts: list[str], rng: np.random.Generator) -> str:
    return prompts[int(rng.integers(len(prompts)))]


def prompts_of_photos(folder: Path, photos: PhotoSet, recipe: TrainConfig) -> list[list[str]]:
    """What each usable photo in `folder` may be trained with."""

    def background(photo: Photo) -> str | None:
        named = recipe.name_background and not photo.caption
        return background_colour(cropped(folder, photo)) if named else None

    return [prompts_of(photo.caption, recipe, background=background(photo)) for photo in photos.usable]


def prompts_of(caption: str | None, recipe: TrainConfig, *, background: str | None = None) -> list[str]:
    """What a photo may be trained with: its own caption, or the templates of its kind, with its background's colour.

    What the words name is not learnt as a part of the concept.
    """
    words = words_of(recipe)
    if caption:
        return [caption_prompt(caption, words)]
    where = f" on {with_article(background)} background" if background else ""
    return [training_prompt(template + where, words) for template in TEMPLATES[recipe.kind]]
