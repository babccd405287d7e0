"""EfficientNet-Lite0 features of pictures, of length 1, remembered on disk by what the pictures show."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, ImageOps

from tests.benchmarks.learning.files import write_whole
from tests.benchmarks.likeness import Features

SIDE_PX = 128  # pictures are compared at one size, or sharpness would tell real from generated ones
COARSE_PX = 64


class FeatureSpace(Protocol):
    """Anything that turns pictures into vectors."""

    def of(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        """Vectors of length 1, fp32 [pictures, width]."""
        ...


class LiteFeatures:
    """EfficientNet-Lite0's; `folder` keeps what was computed, so that a run that goes on does not compute it again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._network: Features | None = None

    def of(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        """Vectors of length 1, fp32 [pictures, 1280]."""
        seen = [square(p) for p in pictures]
        digest = hashlib.sha256(b"".join(p.tobytes() for p in seen)).hexdigest()[:32]
        file = self._folder / f"{digest}.npy"
        if not file.exists():
            self._network = self._network or Features()
            vectors = torch.nn.functional.normalize(self._network.of(seen), dim=1).numpy()
            write_whole(file, lambda aside: np.save(aside, vectors))
        return torch.from_numpy(np.load(file))


def square(picture: Image.Image) -> Image.Image:
    """The middle of an upright picture, RGB, SIDE_PX on each side."""
    upright = ImageOps.exif_transpose(picture).convert("RGB")
    return ImageOps.fit(upright, (SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)


def coarse(picture: Image.Image) -> Image.Image:
    """The same without fine detail: what is left of it at COARSE_PX, enlarged again."""
    return square(picture).resize((COARSE_PX, COARSE_PX), Image.Resampling.LANCZOS).resize((SIDE_PX, SIDE_PX))
