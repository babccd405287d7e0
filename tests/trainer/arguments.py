"""What the command line is asked for in tests."""

from __future__ import annotations

from pathlib import Path


def train_arguments(photos: Path, base: Path, out: Path, *more: object) -> list[object]:
    named = ["--name", "red-mug", "--kind", "object", "--class-word", "teapot"]
    sizes = ["--set", "resolution_px=64", "--set", "preview_every_steps=0", "--set", "precision=fp32"]
    return [
        "train",
        "--photos",
        photos,
        "--method",
        "textual-inversion",
        *named,
        "--base",
        base,
        "--out",
        out,
        *sizes,
        *more,
    ]
