"""Settings inside the picture: written to a PNG's text chunks, read back from any of ours."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from pydantic import BaseModel, ConfigDict, ValidationError

from inference.grid import Axis, GridSettings, Varied
from inference.request import PictureRequest
from trainer.bases import public_base_name
from trainer.photos.decode import MAX_PIXELS

KEY = "concept-studio"
MAX_CHUNK = 64 * 1024


class PictureSettings(BaseModel):
    """What a picture was made with. Concepts are kept by name and fingerprint: folders of this machine stay here."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str
    negative_prompt: str
    base: str
    seed: int
    steps: int
    guidance: float
    scheduler: str
    width: int
    height: int
    strength: float | None = None
    concepts: list[dict[str, Any]] = []
    grid: GridSettings | None = None
    """Of a picture that shows a whole grid: what varies in it. The other settings are those that it was asked with."""

    @property
    def brought_back_by(self) -> GridSettings | None:
        """The grid to ask for: the picture's own, or of the one checkpoint that it was drawn with."""
        steps = [concept.get("step") for concept in self.concepts]
        if self.grid is None and len(steps) == 1 and isinstance(steps[0], int):
            return GridSettings(across=Axis(varied=Varied.checkpoint, values=(str(steps[0]),)))
        return self.grid


def settings_of(request: PictureRequest, seed: int, concepts: list[dict[str, Any]]) -> PictureSettings:
    """The settings of one picture of a request."""
    return PictureSettings(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        base=public_base_name(request.base),
        seed=seed,
        steps=request.steps,
        guidance=request.guidance,
        scheduler=request.scheduler,
        width=request.width,
        height=request.height,
        strength=request.strength if request.init_image else None,
        concepts=concepts,
    )


def save_picture(picture: Image.Image, file: Path, settings: PictureSettings) -> None:
    """Write a PNG with its settings, also in the `parameters` chunk that other tools read."""
    info = PngInfo()
    info.add_itxt(KEY, settings.model_dump_json())
    info.add_itxt("parameters", parameters_text(settings))
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.part")  # a page that opens may look at all pictures that are there
    try:
        picture.save(aside, "PNG", pnginfo=info)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def parameters_text(settings: PictureSettings) -> str:
    """AUTOMATIC1111's spelling of the settings."""
    lines = [settings.prompt]
    if settings.negative_prompt:
        lines.append(f"Negative prompt: {settings.negative_prompt}")
    lines.append(
        f"Steps: {settings.steps}, Sampler: {settings.scheduler}, CFG scale: {settings.guidance:g}, "
        f"Seed: {settings.seed}, Size: {settings.width}x{settings.height}"
    )
    return "\n".join(lines)


def read_settings(file: Path) -> PictureSettings | None:
    """The settings inside a PNG, or None where it carries none of ours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is looked at below
            with Image.open(file, formats=["PNG"]) as picture:
                if KEY not in picture.info and picture.width * picture.height <= MAX_PIXELS:
                    picture.load()  # another tool may have put the text behind the pixels; we put it before them
                text = picture.info.get(KEY)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    if not isinstance(text, str) or len(text) > MAX_CHUNK:
        return None
    try:
        return PictureSettings.model_validate(json.loads(text))
    except (json.JSONDecodeError, ValidationError):
        return None
