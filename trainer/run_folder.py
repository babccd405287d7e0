"""The run folder: where each thing of a run lies, and who may write to it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from trainer.errors import RequestError
from trainer.events import EventLog
from trainer.machine.locks import Holder, hold_lock, is_anothers, is_held, lock_holder
from trainer.recipe.build import build_recipe
from trainer.recipe.config import TrainConfig
from trainer.whole_files import BEFORE, write_whole

MANIFEST_FILE = "artifact.json"
"""In an artifact's folder: what it is, with the hashes of its files. Written last."""
_CHECKPOINT = re.compile(r"step-(\d{6})")
_PREVIEW = re.compile(r"step-(\d{6})-\d+\.png")


class RunFolder:
    """Paths of one run. The layout is a contract; see the README."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def config_file(self) -> Path:
        return self.root / "config.json"

    @property
    def task_file(self) -> Path:
        """What to do where nothing is trained; see trainer.imports.task."""
        return self.root / "task.json"

    @property
    def source(self) -> Path:
        """A file that came from outside, while it is being taken in."""
        return self.root / "source"

    @property
    def download(self) -> Path:
        """What somebody's own token brings, while it is being taken in; no mirror copies it."""
        return self.root / ".download"

    @property
    def job_file(self) -> Path:
        return self.root / "job.json"

    @property
    def events_file(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def log_file(self) -> Path:
        return self.root / "log.txt"

    @property
    def photos(self) -> Path:
        return self.root / "photos"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def previews(self) -> Path:
        return self.root / "previews"

    @property
    def artifact(self) -> Path:
        return self.root / "artifact"

    @property
    def manifest_file(self) -> Path:
        return self.artifact / MANIFEST_FILE

    @property
    def has_result(self) -> bool:
        """Whether it has a concept; while the run goes on, that may be an earlier one."""
        return self.manifest_file.exists()

    @property
    def events(self) -> EventLog:
        return EventLog(self.events_file)

    @property
    def checkpoint_steps(self) -> list[int]:
        """The steps that there are checkpoints of, whole or damaged, the first one first."""
        if not self.checkpoints.is_dir():
            return []
        return sorted(int(name[1]) for f in self.checkpoints.iterdir() if (name := _CHECKPOINT.fullmatch(f.name)))

    def checkpoint_folder(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:06d}"

    def preview_file(self, step: int, number: int) -> Path:
        return self.previews / f"step-{step:06d}-{number}.png"

    def previews_by_step(self) -> dict[int, list[Path]]:
        """The preview pictures of each step, the first step first."""
        found: dict[int, list[Path]] = {}
        for file in sorted(self.previews.glob("*.png")):
            if name := _PREVIEW.fullmatch(file.name):
                found.setdefault(int(name[1]), []).append(file)
        return found

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def write_recipe(self, recipe: TrainConfig) -> None:
        write_whole(self.config_file, recipe.model_dump_json(indent=2) + "\n")

    def read_recipe(self) -> TrainConfig:
        """The resolved recipe. Raises RequestError where this is no run folder."""
        try:
            values: Any = json.loads(self.config_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise RequestError(f"{self.root} is not a run folder: it has no config.json.") from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise RequestError(f"{self.config_file} is damaged; it is not JSON.") from None
        if not isinstance(values, dict):
            raise RequestError(f"{self.config_file} is damaged; it is not a list of fields.")
        recipe = cast("dict[str, Any]", values)
        if recipe.get("variants_per_photo", 1) == 1:  # earlier runs may be told to mirror that one, which did nothing
            recipe["mirror"] = False
        return build_recipe(recipe)

    @contextmanager
    def locked(self) -> Generator[None]:
        """Hold the run for this process. Raises BusyError with the pid of whoever holds it already."""
        self.root.mkdir(parents=True, exist_ok=True)
        with hold_lock(self._lock, what=f"The run {self.root}"):
            self.remove_unfinished()
            yield

    def is_held(self) -> bool:
        """Whether a live process has the run locked."""
        return is_held(self._lock)

    def holder(self) -> Holder | None:
        """Who locked the run last."""
        return lock_holder(self._lock)

    def is_anothers(self) -> bool:
        """Whether another process has the run by now that this one locked."""
        return is_anothers(self._lock)

    @property
    def _lock(self) -> Path:
        return self.root / ".lock"

    def remove_unfinished(self) -> None:
        """Remove what a process that was ended was writing aside; only for who knows that no process is at it."""
        for before in self.root.glob(f".{self.artifact.name}.*{BEFORE}"):
            if not self.artifact.exists():  # it was ended in the moment between two renames
                before.replace(self.artifact)
        for rest in (*self.root.glob(f".{self.artifact.name}.*"), *self.checkpoints.glob(".step-*")):
            shutil.rmtree(rest, ignore_errors=True)
