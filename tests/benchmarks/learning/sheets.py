"""Contact sheets: many pictures on one page, row by row, each row with its words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from tests.benchmarks.learning.files import write_picture

LABEL_PX = 14
GAP_PX = 2


def write_sheet(file: Path, rows: Sequence[tuple[str, Sequence[Image.Image]]], *, side_px: int = 128) -> None:
    """Each row is a label and its pictures."""
    widest = max((len(pictures) for _, pictures in rows), default=1)
    height = side_px + LABEL_PX + GAP_PX
    sheet = Image.new("RGB", (widest * (side_px + GAP_PX), len(rows) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (label, pictures) in enumerate(rows):
        draw.text((2, row * height), label, fill="black")
        for column, picture in enumerate(pictures):
            small = picture.convert("RGB").resize((side_px, side_px), Image.Resampling.LANCZOS)
            sheet.paste(small, (column * (side_px + GAP_PX), row * height + LABEL_PX))
    write_picture(file, sheet)


def write_grid(file: Path, labelled: Sequence[tuple[str, Image.Image]], *, columns: int, side_px: int = 96) -> None:
    """Every picture with its own label above it."""
    height = side_px + LABEL_PX + GAP_PX
    count = -(-len(labelled) // columns)
    sheet = Image.new("RGB", (columns * (side_px + GAP_PX), count * height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (label, picture) in enumerate(labelled):
        left, top = number % columns * (side_px + GAP_PX), number // columns * height
        draw.text((left, top), label[: side_px // 5], fill="black", font_size=9)
        small = picture.convert("RGB").resize((side_px, side_px), Image.Resampling.LANCZOS)
        sheet.paste(small, (left, top + LABEL_PX))
    write_picture(file, sheet)
