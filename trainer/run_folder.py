"""The run folder: where each thing of a run lies, and who may write to it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainer.config import TrainConfig
from trainer.errors import BusyError, RequestError
from trainer.events import EventLog
from trainer.recipe import build_recipe

_BEFORE = ".before"
"""How the name of a folder ends that a newer one is just taking the place of."""


class RunFolder:
    """Paths of one run. The layout is a contract; see the README."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def config_file(self) -> Path:
        return self.root / "config.json"

    @property
    def task_file(self) -> Path:
        """What to do where nothing is trained; see trainer.task."""
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
    def events(self) -> EventLog:
        return EventLog(self.events_file)

    def preview_file(self, step: int, number: int) -> Path:
        return self.previews / f"step-{step:06d}-{number}.png"

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def write_recipe(self, recipe: TrainConfig) -> None:
        write_whole(self.config_file, recipe.model_dump_json(indent=2) + "\n")

    def read_recipe(self) -> TrainConfig:
        """The resolved recipe. Raises RequestError where this is no run folder."""
        try:
            values: dict[str, Any] = json.loads(self.config_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RequestError(f"{self.root} is not a run folder: it has no config.json.") from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise RequestError(f"{self.config_file} is damaged; it is not JSON.") from None
        return build_recipe(values)

    @contextmanager
    def locked(self) -> Generator[None]:
        """Hold the run for this process. Raises BusyError with the pid of whoever holds it already."""
        self.root.mkdir(parents=True, exist_ok=True)
        with hold_lock(self.root / ".lock", what=f"The run {self.root}"):
            self.remove_unfinished()
            yield

    def remove_unfinished(self) -> None:
        """Remove what a process that was ended was writing aside; only for who knows that no process is at it."""
        for before in self.root.glob(f".{self.artifact.name}.*{_BEFORE}"):
            if not self.artifact.exists():  # it was ended in the moment between two renames
                before.replace(self.artifact)
        for rest in (*self.root.glob(f".{self.artifact.name}.*"), *self.checkpoints.glob(".step-*")):
            shutil.rmtree(rest, ignore_errors=True)


@contextmanager
def hold_lock(path: Path, *, what: str) -> Generator[None]:
    """An exclusive file lock that ends with the process. Raises BusyError naming the holder's pid."""
    with path.open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = lock_holder(path)
            raise BusyError(f"{what} is already served by pid {pid or 'unknown'}.", pid=pid) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def lock_holder(path: Path) -> int | None:
    """The pid that wrote itself into a lock file, if any."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isdigit() else None


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that it is either the old or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)  # whoever tries again and again on a full disk would leave one each time
        raise


@contextmanager
def written_aside(target: Path) -> Generator[Path]:
    """A folder beside `target` that takes its place when the block ends well: whole or absent."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    before = aside.with_name(aside.name + _BEFORE)
    try:
        yield aside
        for file in aside.rglob("*"):
            if file.is_file():
                _flush(file)
        _flush(aside)
        if target.exists():
            target.replace(before)
        aside.replace(target)
        _flush(target.parent)
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
