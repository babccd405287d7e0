"""Real photos: a folder of one folder of photos for each subject."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

SUFFIXES = (".jpg", ".jpeg", ".png")


def read_photo_folders(folder: Path) -> dict[str, list[Image.Image]]:
    """Subject -> its photos, upright and RGB, both in the order of their names."""
    subjects = {}
    for place in sorted(p for p in folder.iterdir() if p.is_dir()):
        files = sorted(f for f in place.iterdir() if f.suffix.lower() in SUFFIXES)
        if files:
            subjects[place.name] = [_upright(f) for f in files]
    return subjects


def _upright(file: Path) -> Image.Image:
    with Image.open(file) as opened:
        return ImageOps.exif_transpose(opened).convert("RGB")
