"""A whole grid as one picture, with its values beside the rows and above the columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from inference.grid import Axis, Grid, Varied
from inference.metadata import read_settings, save_picture, settings_of
from inference.request import PictureRequest

MAX_CELL_PX = 384
_GAP, _TEXT_PX, _SIDE_PX = 6, 14, 150
_PAPER, _INK = "white", "black"
_UNSPOKEN = (Varied.words, Varied.prompt, Varied.scheduler, Varied.concept, Varied.size)
"""What says by its value alone what it is."""


def save_grid(grid: Grid, request: PictureRequest, files: Sequence[Path], target: Path) -> None:
    """Join the pictures of a grid's cells, in `files`, into `target`, whose settings bring the grid back.

    `request` is what the grid was built from. A file that is gone meanwhile leaves its place empty.
    """
    pictures = [_small(file) if file.is_file() else None for file in files]
    concepts = _concepts(request, files)
    settings = settings_of(request, request.seed, concepts).model_copy(update={"grid": grid.settings})
    save_picture(draw_grid(grid, request.prompt, pictures), target, settings)


def _small(file: Path) -> Image.Image:
    """A cell's picture; 48 whole ones of 2048 px would take 800 MB of the page's memory."""
    with Image.open(file) as picture:
        small = picture.convert("RGB")
    small.thumbnail((MAX_CELL_PX, MAX_CELL_PX), Image.Resampling.LANCZOS)
    return small


def _concepts(request: PictureRequest, files: Sequence[Path]) -> list[dict[str, Any]]:
    """The concepts of all cells, each once, as strong as they were asked for."""
    found = {c["alias"]: c for file in files if (settings := read_settings(file)) for c in settings.concepts}
    asked = [{**found[u.alias], "weight": u.weight} for u in request.concepts if u.alias in found]
    return [{key: value for key, value in concept.items() if key != "step"} for concept in asked]


def draw_grid(grid: Grid, prompt: str, pictures: Sequence[Image.Image | None]) -> Image.Image:
    """The picture of a grid; `pictures` are its cells row by row."""
    across, down = grid.settings.across, grid.settings.down
    columns = len(across.values)
    there = [picture for picture in pictures if picture is not None]
    width, height = (max((p.size[i] for p in there), default=MAX_CELL_PX) for i in (0, 1))
    font = ImageFont.load_default(size=_TEXT_PX)
    sides = [_wrapped(_label(down, value), _SIDE_PX, font) for value in down.values] if down else []
    left = round(max((font.getlength(line) for side in sides for line in side), default=-_GAP)) + _GAP
    whole = left + columns * (width + _GAP)
    title = _wrapped(prompt, whole - 2 * _GAP, font)
    heads = [_wrapped(_label(across, value), width, font) for value in across.values]
    top = _text_height(title) + max(map(_text_height, heads)) + 3 * _GAP
    sheet = Image.new("RGB", (whole + _GAP, top + len(grid.rows) * (height + _GAP)), _PAPER)
    ink = ImageDraw.Draw(sheet)
    ink.multiline_text((_GAP, _GAP), "\n".join(title), fill=_INK, font=font)
    for column, head in enumerate(heads):
        place = (left + _GAP + column * (width + _GAP), top - _GAP - _text_height(head))
        ink.multiline_text(place, "\n".join(head), fill=_INK, font=font)
    for row, side in enumerate(sides):
        ink.multiline_text((_GAP, top + row * (height + _GAP)), "\n".join(side), fill=_INK, font=font)
    for number, picture in enumerate(pictures):
        if picture is not None:
            row, column = divmod(number, columns)
            sheet.paste(picture, (left + _GAP + column * (width + _GAP), top + row * (height + _GAP)))
    return sheet


def _label(axis: Axis, value: str) -> str:
    return value if axis.varied in _UNSPOKEN else f"{axis.varied.value.replace('_', ' ')} {value}"


def _text_height(lines: list[str]) -> int:
    return len(lines) * (_TEXT_PX + 4)


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """The text in lines of at most `width` pixels, broken between words; a longer word has a line of its own."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
