"""Pictures for tests: subjects on backgrounds, drawn here, with every oddity that real files have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

ORIENTATION, GPS_TAG, MAKE = 0x0112, 0x8825, 0x010F


def subject_picture(
    seed: int, size: tuple[int, int] = (480, 360), *, centre: tuple[float, float] = (0.5, 0.5)
) -> Image.Image:
    """A striped disc on a softly textured background; `centre` is where the disc is, as a share of the size."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 120, (12, 16, 3)).astype(np.uint8)
    picture = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    x, y = centre[0] * size[0], centre[1] * size[1]
    radius = 0.28 * min(size)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(220, 40 + seed * 9 % 60, 40))
    for stripe in range(-3, 4):
        offset = stripe * radius / 4
        draw.line((x - radius / 2, y + offset, x + radius / 2, y + offset + seed % 7), fill=(250, 240, 90), width=4)
    return picture


def write_photos(folder: Path, count: int, *, size: tuple[int, int] = (480, 360)) -> Path:
    """`count` ordinary JPEGs of a subject that moves about."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        centre = (0.3 + 0.1 * number, 0.4 + 0.05 * (number % 3))
        subject_picture(number * 7 + 1, size, centre=centre).save(folder / f"photo-{number}.jpg", quality=92)
    return folder


def exif_with_gps(orientation: int) -> Image.Exif:
    """EXIF data as a phone writes it: rotation, maker and a place."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[MAKE] = "Secret Phone Company"
    exif.get_ifd(GPS_TAG)[2] = (48.0, 51.0, 30.0)
    return exif
