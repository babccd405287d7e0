"""A photo's subject, cut out and put on plain colours that have a name.

Shown so beside the photos, with the colour in the prompt, a subject is learnt apart from the places that it was
photographed in, and comes on the background that it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from trainer.photos.colours import COLOURS, nearest_colour
from trainer.photos.intake import PhotoSet, cropped
from trainer.photos.subject_mask import subject_mask

MOST = 120
"""Pictures of all photos together, where each photo has several: each is encoded before training.

A photo has one at least, however many photos there are.
"""
_SOFT_EDGE = 1 / 160  # of the picture's side


@dataclass(frozen=True)
class CutOut:
    """A square RGB picture, and the word for the colour behind its subject."""

    picture: Image.Image
    colour: str


def cut_outs(folder: Path, photos: PhotoSet, *, size_px: int) -> Iterator[CutOut]:
    """Subjects of the photos in `folder` on plain colours, `size_px` wide; none of photos that have their own caption.

    Photos take turns with the colours. The one that a subject itself has most of is left out, for it would vanish.
    """
    size, found = (size_px, size_px), list[tuple[Image.Image, Image.Image, str]]()
    for photo in photos.usable:
        if photo.caption:
            continue
        square = cropped(folder, photo)
        if (mask := subject_mask(square)) is not None:
            small = np.asarray(square.resize(mask.shape[::-1], Image.Resampling.BOX))
            own = nearest_colour(small[mask].mean(0))
            found.append((square.resize(size, Image.Resampling.LANCZOS), _softened(mask, size_px), own))
    for turn, (picture, mask, own) in enumerate(found):
        colours = [colour for colour in COLOURS if colour != own]
        for number in range(max(1, min(len(colours), MOST // len(found)))):
            colour = colours[(turn + number) % len(colours)]
            plain = Image.new("RGB", size, COLOURS[colour])
            plain.paste(picture, (0, 0), mask)
            yield CutOut(plain, colour)


def _softened(mask: np.ndarray, size_px: int) -> Image.Image:
    """A mask as a grey picture, `size_px` wide, whose edge is no staircase."""
    grey = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
    wide = grey.resize((size_px, size_px), Image.Resampling.BILINEAR)
    return wide.filter(ImageFilter.GaussianBlur(size_px * _SOFT_EDGE))
