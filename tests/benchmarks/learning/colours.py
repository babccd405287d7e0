"""Whether a picture's background has the asked colour."""

from __future__ import annotations

from PIL import Image

from trainer.photos.colours import border_shares


def background_obeys(picture: Image.Image, colour: str) -> bool:
    """Whether `colour` is the nearest colour word of more than half of the border pixels."""
    return border_shares(picture)[colour] > 0.5
