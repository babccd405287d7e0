"""Opens a photo safely: by content, not by name; upright, flat, 8-bit sRGB, without metadata.

Nothing here trusts the file: size, format and pixel count are checked from the header before a pixel is decoded.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from trainer.errors import PhotoError

MAX_FILE_BYTES = 200 * 2**20
MAX_PIXELS = 80_000_000
MAX_STORED_PX = 2048
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF")
_ACCEPTED = "JPEG, PNG, WebP, AVIF and HEIC"
# what makes each EXIF orientation upright
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@cache
def _prepare_pillow() -> None:
    Image.init()  # before open(formats=...), or it raises KeyError
    pillow_heif.register_heif_opener()  # pyright: ignore[reportUnknownMemberType] - untyped


def decode_photo(path: Path) -> Image.Image:
    """The photo as an upright RGB picture, at most MAX_STORED_PX on its long side where that can be had cheaply.

    Raises PhotoError with a sentence that says what is wrong with the file.
    """
    _prepare_pillow()
    data = _read_regular_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # damaged EXIF or ICC blocks: the pixels may still be whole
        picture = _open(data)
        _check_pixels(picture)
        try:
            return _normalised(picture)
        except (OSError, SyntaxError, ValueError, EOFError, RuntimeError, ArithmeticError) as error:
            raise PhotoError(_damage(error)) from error
        except MemoryError as error:
            raise PhotoError("is too large to decode on this machine.") from error


def _read_regular_file(path: Path) -> bytes:
    """The file's bytes. Links, FIFOs, devices and folders are refused without being opened."""
    try:
        status = path.lstat()
    except OSError as error:
        raise PhotoError("cannot be read.") from error
    if not stat.S_ISREG(status.st_mode):
        raise PhotoError(f"is {_kind_of_file(status.st_mode)}, not a photo; it was not opened.")
    if status.st_size == 0:
        raise PhotoError("is empty.")
    if status.st_size > MAX_FILE_BYTES:
        raise PhotoError(f"is {status.st_size / 2**20:,.0f} MB; photos may have up to {MAX_FILE_BYTES // 2**20} MB.")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise PhotoError("cannot be read.") from error


def _kind_of_file(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a link"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a device or pipe"


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(f"has too many pixels; photos may have up to {MAX_PIXELS // 10**6} megapixels.") from error
    except UnidentifiedImageError as error:
        raise PhotoError(f"is not a photo in a format that is read here ({_ACCEPTED}).") from error
    except (OSError, SyntaxError, ValueError, EOFError, RuntimeError) as error:
        raise PhotoError(_damage(error)) from error


def _check_pixels(picture: Image.Image) -> None:
    pixels = picture.width * picture.height
    if pixels > MAX_PIXELS:
        raise PhotoError(
            f"has {pixels / 1e6:,.0f} megapixels; photos may have up to {MAX_PIXELS // 10**6}. Send a smaller copy."
        )


def _damage(error: Exception) -> str:
    text = str(error).lower()
    cut_off = "truncated" in text or "end of file" in text or "eof" in text or isinstance(error, EOFError)
    return "is damaged: it ends in the middle. Send it again." if cut_off else "is damaged and cannot be decoded."


def _normalised(picture: Image.Image) -> Image.Image:
    picture.draft(None, (MAX_STORED_PX, MAX_STORED_PX))  # JPEG only: decodes at 1/2, 1/4 or 1/8 where that is enough
    profile = picture.info.get("icc_profile")
    picture.load()
    picture = _upright(picture)
    picture = _eight_bit(picture)
    picture = _in_srgb(picture, profile)
    picture = _flattened(picture)
    picture.thumbnail((MAX_STORED_PX, MAX_STORED_PX), Image.Resampling.LANCZOS, reducing_gap=3.0)
    clean = Image.new("RGB", picture.size)  # a new picture has no metadata to forget
    clean.paste(picture)
    return clean


def _upright(picture: Image.Image) -> Image.Image:
    """As the camera was held. Of its EXIF data nothing else is looked at: it may be damaged in any way."""
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, AttributeError, EOFError, struct.error):
        return picture
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return picture if turn is None else picture.transpose(turn)


def _eight_bit(picture: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit; Pillow itself would clip instead of scale."""
    if picture.mode.startswith("I"):
        return Image.fromarray(np.clip(np.asarray(picture) // 257, 0, 255).astype(np.uint8))
    return picture


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    if not profile or picture.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        alpha = picture.getchannel("A") if picture.mode == "RGBA" else None
        colours = picture.convert("RGB") if alpha else picture
        make_profile = cast("Any", ImageCms).createProfile  # Pillow leaves it untyped
        target = ImageCms.ImageCmsProfile(make_profile("sRGB"))
        converted = ImageCms.profileToProfile(colours, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture  # a damaged profile, or one of another colour space, says nothing about the pixels
    if converted is None:
        return picture
    if alpha:
        converted.putalpha(alpha)
    return converted


def _flattened(picture: Image.Image) -> Image.Image:
    """Transparency on white, as a browser shows it."""
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        layers = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("RGB")
    return picture.convert("RGB")
