"""Files that are whole or absent, however a run ends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `file`, then put it in place in one step."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{os.getpid()}-{file.name}")
    write(aside)
    aside.replace(file)


def write_json(file: Path, content: Any) -> None:
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    write_whole(file, lambda aside: aside.write_text(text, encoding="utf-8"))


def read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def write_picture(file: Path, picture: Image.Image) -> None:
    write_whole(file, lambda aside: picture.save(aside, format="PNG"))


def read_picture(file: Path) -> Image.Image:
    with Image.open(file) as opened:
        return opened.convert("RGB")
