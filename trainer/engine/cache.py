"""Encodes every picture of a run once: a few crops of each photo, as posteriors that are sampled anew at each step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from trainer.engine.families import Family, Posterior
from trainer.engine.noise import key_of
from trainer.engine.sampling import picture_to_tensor
from trainer.photos.decode import decode_photo
from trainer.photos.intake import PhotoSet, cropped
from trainer.photos.subject_mask import place_weights
from trainer.recipe.config import TrainConfig

SMALLEST_ZOOM = 0.82
Counted = Callable[[int, int], None]


@dataclass(frozen=True)
class EncodedPictures:
    """Posteriors of all pictures: mean and std fp32 [pictures, variants, channels, height, width].

    `place_weights` [pictures, variants, 1, height, width] is how much each place counts in training, 1 on average.
    """

    mean: torch.Tensor
    std: torch.Tensor
    place_weights: torch.Tensor

    def __len__(self) -> int:
        return self.mean.shape[0]

    @property
    def variants(self) -> int:
        return self.mean.shape[1]


def encode_photos(
    folder: Path, photos: PhotoSet, recipe: TrainConfig, family: Family, counted: Counted
) -> EncodedPictures:
    """Encode the recipe's number of variants of every photo; the first variant is the exact crop."""
    squares = (cropped(folder, photo) for photo in photos.usable)
    pictures = (
        [variant(square, recipe, index=index, number=number) for number in range(recipe.variants_per_photo)]
        for index, square in enumerate(squares)
    )
    return _encode(pictures, len(photos.usable), family, counted, recipe.background_weight)


def encode_pictures(pictures: Sequence[Image.Image], family: Family, counted: Counted) -> EncodedPictures:
    """Encode pictures of the recipe's size, each as it is."""
    return _encode(([picture] for picture in pictures), len(pictures), family, counted)


def encode_class_pictures(files: list[Path], resolution_px: int, family: Family, counted: Counted) -> EncodedPictures:
    """Encode class pictures, each once, from their centre square."""
    pictures = ([_centre_square(file, resolution_px)] for file in files)
    return _encode(pictures, len(files), family, counted)


def variant(square: Image.Image, recipe: TrainConfig, *, index: int, number: int) -> Image.Image:
    """Crop `number` of photo `index`: slightly closer and off-centre, every other one mirrored if the recipe allows."""
    size = (recipe.resolution_px, recipe.resolution_px)
    if number == 0:
        return square.resize(size, Image.Resampling.LANCZOS)
    rng = np.random.default_rng(key_of(recipe.seed, number, f"crop {index}"))
    side = round(square.width * rng.uniform(SMALLEST_ZOOM, 1.0))
    left, top = (int(v) for v in rng.integers(0, square.width - side + 1, 2))
    closer = square.crop((left, top, left + side, top + side)).resize(size, Image.Resampling.LANCZOS)
    mirrored = recipe.mirror and number % 2 == 1
    return closer.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else closer


def _centre_square(file: Path, resolution_px: int) -> Image.Image:
    picture = decode_photo(file)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return square.resize((resolution_px, resolution_px), Image.Resampling.LANCZOS)


def _encode(
    pictures: Iterable[list[Image.Image]],
    count: int,
    family: Family,
    counted: Counted,
    background_weight: float = 1.0,
) -> EncodedPictures:
    posteriors: list[Posterior] = []
    weights: list[torch.Tensor] = []
    for done, variants in enumerate(pictures, start=1):
        # one at a time: of many large crops at once the encoder would need more memory than training does
        each = [family.encode_pictures(picture_to_tensor(v)[None]) for v in variants]
        posteriors.append(Posterior(torch.cat([p.mean for p in each]), torch.cat([p.std for p in each])))
        height, width = each[0].mean.shape[-2:]
        counting = [place_weights(v, background_weight, height=height, width=width) for v in variants]
        weights.append(torch.from_numpy(np.stack(counting))[:, None].to(each[0].mean))
        counted(done, count)
    return EncodedPictures(
        torch.stack([p.mean for p in posteriors]), torch.stack([p.std for p in posteriors]), torch.stack(weights)
    )
