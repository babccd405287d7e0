"""Composes the training pictures once, with all cores, and keeps them: both models of the starter learn from them."""

from __future__ import annotations

import json
import logging
import multiprocessing
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from trainer.starter.scenes import Composer, Item, Scene

log = logging.getLogger(__name__)
PART = 1024
UNNAMED_SHARE = 0.3
TWINS = 4
_composer: Composer


def parts_of(folder: Path, count: int) -> list[Path]:
    """The files of at least `count` pictures, whether they are there or not."""
    return [folder / f"pictures-{number:04d}.npz" for number in range(-(-count // PART))]


def compose_parts(composer: Composer, parts: list[Path], *, processes: int) -> None:
    """Write these parts, by several processes at once."""
    parts[0].parent.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(0)  # before the fork: OpenCV's threads are not there in a forked process, which waits for them
    with multiprocessing.get_context("fork").Pool(processes, _start_worker, (composer,)) as pool:
        for done, part in enumerate(pool.imap_unordered(_write_part, parts), 1):
            log.info("pictures: %s, %d of %d", part.name, done, len(parts))
        pool.close()
        pool.join()  # else they would be ended by a signal, which children of a process that minds signals do not heed


def read_pictures(part: Path) -> np.ndarray:
    """The pictures of one part, uint8 [PART, side, side, 3]."""
    with np.load(part) as stored:
        return stored["pictures"]


def read_scenes(part: Path) -> list[Scene]:
    """What each picture of a part shows."""
    with np.load(part) as stored:
        return [_scene(text) for text in stored["scenes"]]


def _start_worker(composer: Composer) -> None:
    """Keep what the forked process shares with its parent: sending a composer with each part would take longer."""
    global _composer
    _composer = composer


def _write_part(part: Path) -> Path:
    rng = np.random.default_rng((2, int(part.stem.rsplit("-", 1)[1])))
    made: list[tuple[np.ndarray, Scene]] = []
    while len(made) < PART:  # named things, and for a share of it several pictures each of things without a name
        unnamed = rng.random() < UNNAMED_SHARE / TWINS
        made += _composer.compose_unnamed(rng, TWINS) if unnamed else [_composer.compose(rng)]
    pictures, scenes = zip(*made[:PART], strict=True)
    aside = part.with_name(f".{part.name}")
    np.savez(aside, pictures=np.stack(pictures), scenes=np.array([json.dumps(asdict(s)) for s in scenes]))
    aside.replace(part)
    return part


def _scene(text: str) -> Scene:
    values = json.loads(text)
    return Scene(values["style"], tuple(Item(**item) for item in values["items"]), values["background"])
