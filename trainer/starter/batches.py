"""The denoiser's batches: which pictures, under which captions, at which timesteps. Each is a function of its step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from transformers import CLIPTokenizer

from trainer.starter import references
from trainer.starter.networks import TIMESTEPS
from trainer.starter.scenes import PHOTO, Scene, caption

EMPTY_SHARE = 0.1
# How often a caption refers to its own picture, and how often to another picture of its one thing. A thing without a
# name is always referred to.
OWN_SHARE, TWIN_SHARE = 0.1, 0.05
# How much of a batch shows one thing, named and in its own colours, on a flat background: what words mean is learnt
# from these. The rest of it may show anything, so that photos and what has no name stay known.
PLAIN_SHARE = 0.8


class Batch(NamedTuple):
    """Numbers of pictures [batch], their captions' tokens [batch, tokens], the pictures referred to and timesteps.

    A caption without markers refers to no picture; what stands in `referred` for it does not matter.
    """

    pictures: torch.Tensor
    ids: torch.Tensor
    referred: torch.Tensor
    timesteps: torch.Tensor
    half_size: bool


class Captioner:
    """Puts batches together from what each picture of a bank shows."""

    def __init__(self, scenes: list[Scene], tokenizer: CLIPTokenizer) -> None:
        self._scenes, self._tokenizer = scenes, tokenizer
        self._twins = references.twins_of(scenes)
        self._plain = np.array([number for number, scene in enumerate(scenes) if _is_plain(scene)])

    def batch(self, size: int, rng: np.random.Generator, *, late: float, half_size: bool) -> Batch:
        """A batch of `size`; a timestep is the `late`-th root of a uniform draw, so that more of them hide shapes."""
        chosen = rng.integers(len(self._scenes), size=size)
        if len(self._plain):
            chosen = np.where(rng.random(size) < PLAIN_SHARE, rng.choice(self._plain, size), chosen)
        captions, referred = [], []
        for picture in chosen:
            scene = self._scenes[picture]
            reference = self._reference(int(picture), rng)
            if rng.random() < EMPTY_SHARE:
                captions.append("")
            else:
                captions.append(caption(scene, rng, thing="" if reference is None else references.WORDS))
            referred.append(int(picture) if reference is None else reference)
        ids = self._tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        timesteps = torch.from_numpy(rng.random(size) ** (1 / late) * TIMESTEPS).long()
        return Batch(torch.from_numpy(chosen), ids, torch.tensor(referred), timesteps, half_size)

    def _reference(self, picture: int, rng: np.random.Generator) -> int | None:
        """The picture that the caption refers to, if it does."""
        scene = self._scenes[picture]
        draw = rng.random()
        if draw < OWN_SHARE:
            return picture
        twins = self._twins.get((scene.style, scene.items), [picture])
        if len(twins) > 1 and (draw < OWN_SHARE + TWIN_SHARE or scene.items[0].look is not None):
            place = int(rng.integers(len(twins) - 1))
            return twins[place] if twins[place] != picture else twins[-1]
        return picture if scene.items[0].look is not None else None


def _is_plain(scene: Scene) -> bool:
    item = scene.items[0]
    return scene.style != PHOTO and len(scene.items) == 1 and item.look is None and item.colour is None
