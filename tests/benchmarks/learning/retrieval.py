"""Which of all taught things does a picture show? The nearest of many reference pictures says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from tests.benchmarks.learning.features import FeatureSpace
from tests.benchmarks.learning.scenery import Pose, flat, layer_of, over
from trainer.photos.colours import COLOURS
from trainer.starter.looks import Sprites

DRAWINGS_PER_STYLE = 2
BACKGROUNDS = 2


@dataclass(frozen=True)
class References:
    """Centred vectors of length 1, fp32 [references, width], and the name that each stands for."""

    names: list[str]
    vectors: torch.Tensor
    centre: torch.Tensor

    def ranking(self, features: torch.Tensor) -> list[list[str]]:
        """For each picture all names, nearest first; a name is as near as its nearest reference.

        What all references share (the centre) is taken off first: it says nothing about which is meant.
        """
        directions = torch.nn.functional.normalize(features - self.centre, dim=1)
        rankings = []
        for likenesses in directions @ self.vectors.T:
            order = [self.names[i] for i in likenesses.argsort(descending=True).tolist()]
            rankings.append(list(dict.fromkeys(order)))
        return rankings


def build_references(names: list[str], features: torch.Tensor) -> References:
    """References from the features of pictures and their names."""
    centre = features.mean(0)
    return References(names, torch.nn.functional.normalize(features - centre, dim=1), centre)


def top_share(rankings: Iterable[list[str]], wanted: Sequence[str], count: int) -> float:
    """Share of pictures whose wanted name is among the `count` nearest."""
    hits = [name in ranking[:count] for ranking, name in zip(rankings, wanted, strict=True)]
    return sum(hits) / len(hits)


def sprite_references(sprites: Sprites, nouns: Sequence[str], space: FeatureSpace) -> References:
    """Every noun's drawings (two of each style) in the middle of plain backgrounds of two random colours each."""
    rng = np.random.default_rng((6, 0))
    names, pictures = [], []
    for noun in nouns:
        for drawings in sprites[noun].values():
            for sprite in drawings[:DRAWINGS_PER_STYLE]:
                for number in rng.choice(len(COLOURS), BACKGROUNDS, replace=False):
                    names.append(noun)
                    pictures.append(on_plain(sprite, list(COLOURS)[number], Pose()))
    return build_references(names, space.of(pictures))


def on_plain(sprite: np.ndarray, colour: str, pose: Pose) -> Image.Image:
    """A drawing on a background of one colour word."""
    canvas = over(flat(COLOURS[colour]), layer_of(sprite, pose))
    return Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
