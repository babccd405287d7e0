"""Photos that were taken in once and are copied from then on, as decoding them takes longer than many a test."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from trainer.photos.intake import PhotoSet, read_dataset, take_folder


def take_prepared(source: Path, target: Path) -> PhotoSet:
    """What `take_folder` does."""
    target.mkdir(parents=True, exist_ok=True)
    for name, content in _taken(source, tuple(sorted((f.name, f.stat().st_mtime_ns) for f in source.iterdir()))):
        (target / name).write_bytes(content)
    return read_dataset(target)


@functools.cache
def _taken(source: Path, _state: tuple[tuple[str, int], ...]) -> list[tuple[str, bytes]]:
    with tempfile.TemporaryDirectory() as folder:
        take_folder(source, Path(folder))
        return [(file.name, file.read_bytes()) for file in Path(folder).iterdir()]
