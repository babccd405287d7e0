"""The transforms that diffusers' DreamBooth and textual inversion scripts take from torchvision, on PIL and torch.

There is no CPU build of torchvision for this torch. Sizes, rounding and the order of random draws are torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import numpy as np
import torch
from PIL import Image


class InterpolationMode(Enum):
    """By PIL's names."""

    NEAREST = Image.Resampling.NEAREST
    BILINEAR = Image.Resampling.BILINEAR
    BICUBIC = Image.Resampling.BICUBIC
    LANCZOS = Image.Resampling.LANCZOS


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self._transforms = transforms

    def __call__(self, picture: Any) -> Any:
        for transform in self._transforms:
            picture = transform(picture)
        return picture


class Resize:
    """The shorter side becomes `size`."""

    def __init__(self, size: int, interpolation: InterpolationMode = InterpolationMode.BILINEAR) -> None:
        self._size, self._resampling = size, interpolation.value

    def __call__(self, picture: Image.Image) -> Image.Image:
        short, long = sorted(picture.size)
        if short == self._size:
            return picture
        other = int(self._size * long / short)
        wide = picture.width > picture.height
        return picture.resize((other, self._size) if wide else (self._size, other), self._resampling)


class CenterCrop:
    """The middle, `size` on each side."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, picture: Image.Image) -> Image.Image:
        left, top = (round((extent - self._size) / 2.0) for extent in picture.size)
        return picture.crop((left, top, left + self._size, top + self._size))


class RandomCrop:
    """A random square of `size`; nothing is drawn where the picture has that size already."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, picture: Image.Image) -> Image.Image:
        width, height = picture.size
        if (width, height) == (self._size, self._size):
            return picture
        top = int(torch.randint(0, height - self._size + 1, (1,)))
        left = int(torch.randint(0, width - self._size + 1, (1,)))
        return picture.crop((left, top, left + self._size, top + self._size))


class RandomHorizontalFlip:
    """Mirrored with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        self._p = p

    def __call__(self, picture: Image.Image) -> Image.Image:
        mirrored = torch.rand(1) < self._p
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else picture


class ToTensor:
    """An RGB picture as fp32 [3, height, width] in [0, 1]."""

    def __call__(self, picture: Image.Image) -> torch.Tensor:
        pixels = torch.from_numpy(np.array(picture, dtype=np.uint8))
        return pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)


class Normalize:
    """Less `mean`, divided by `std`, channel by channel; one value stands for all channels."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self._mean, self._std = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels - self._mean) / self._std
