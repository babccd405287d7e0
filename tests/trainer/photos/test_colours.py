"""The colour words of backgrounds."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from trainer.photos.colours import COLOURS, background_colour


@pytest.mark.parametrize("colour", COLOURS)
def test_background_is_named_after_most_of_the_border(colour: str) -> None:
    other = next(c for c in COLOURS if c != colour)
    picture = Image.new("RGB", (900, 900), COLOURS[colour])
    picture.paste(COLOURS[other], (200, 200, 700, 900))  # what stands in the middle reaches the lower border
    assert background_colour(picture) == colour


def test_shade_gets_the_nearest_word() -> None:
    assert background_colour(Image.new("RGB", (64, 64), (20, 60, 150))) == "blue"
    noisy = np.random.default_rng(0).normal((60, 150, 80), 20, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    assert background_colour(Image.fromarray(noisy)) == "green"
