"""What a run reports: typed events, one JSON object a line, appended to events.jsonl.

The file is the only channel from a run to everybody else; the page, the command line and the queue all read it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

_LONGEST_LINE = 2**20
"""The file may come home from a bucket of whoever pays, and the page reads it."""


class Phase(StrEnum):
    """The parts of a run, in order."""

    prepare = "prepare"
    class_images = "class-images"
    cache = "cache"
    train = "train"
    export = "export"
    verify = "verify"


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    time: datetime = Field(default_factory=lambda: datetime.now(UTC))


class Started(_Event):
    """A run, or a resumed run, begins. `resumed_from` is the step it goes on from."""

    event: Literal["started"] = "started"
    recipe: dict[str, Any]
    device: str
    attention: str
    precision: str
    versions: dict[str, str]
    resumed_from: int = 0


class PhaseChanged(_Event):
    """A phase begins, or moves on: `done` of `total` where it can be counted, in `unit` where it is no plain count."""

    event: Literal["phase"] = "phase"
    phase: Phase
    done: int | None = None
    total: int | None = None
    unit: str | None = None


class Step(_Event):
    """Progress of training; `loss` is the mean since the last such event. A later event of a step replaces it."""

    event: Literal["step"] = "step"
    step: int
    total: int
    loss: float
    lr: float
    steps_per_second: float
    eta_s: float


class Preview(_Event):
    """Preview pictures of a step; `files` are relative to the run folder."""

    event: Literal["preview"] = "preview"
    step: int
    files: list[str]


class CheckpointWritten(_Event):
    """A whole checkpoint; `path` is relative to the run folder."""

    event: Literal["checkpoint"] = "checkpoint"
    step: int
    path: str


class Warned(_Event):
    """Something the person should know that did not stop the run."""

    event: Literal["warning"] = "warning"
    text: str


class Measured(_Event):
    """What was learnt, in numbers, before it is exported. `trainer.engine.scores` defines the first two."""

    event: Literal["measured"] = "measured"
    knows_subject: float
    """How much of the base's error on the photos is gone, as a share; below 0 it grew."""
    changed_elsewhere: float
    """How far predictions for other prompts moved, as a share of the same error; 0 = nothing changed."""
    trained_parameters: int
    peak_memory_bytes: int
    """The most of the GPU's memory since it began or went back; without one, of the machine's since its process did."""


class Finished(_Event):
    """The artifact is written and verified."""

    event: Literal["finished"] = "finished"
    artifact: str
    seconds: float
    """Since the run began, was resumed or went back last; a download before that does not count."""


class Stopped(_Event):
    """Stopped on request."""

    event: Literal["stopped"] = "stopped"
    step: int
    checkpoint: str


class Failed(_Event):
    """Failed, why, and what the person can do."""

    event: Literal["failed"] = "failed"
    cause: str
    advice: str


Event = Annotated[
    Started | PhaseChanged | Step | Preview | CheckpointWritten | Warned | Measured | Finished | Stopped | Failed,
    Field(discriminator="event"),
]
_ADAPTER: TypeAdapter[
    Started | PhaseChanged | Step | Preview | CheckpointWritten | Warned | Measured | Finished | Stopped | Failed
] = TypeAdapter(Event)


class Emit(Protocol):
    """Takes one event; what the engine is given to report with."""

    def __call__(self, event: Event, /) -> None: ...


class EventLog:
    """Appends events to a file; a line that a kill cut off is ended first, so that it spoils only itself."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, event: Event, /) -> None:
        line = event.model_dump_json() + "\n"
        with self._path.open("a+b") as file:
            if file.seek(0, os.SEEK_END) > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = "\n" + line
            file.write(line.encode())


def parse_event(line: str) -> Event | None:
    """One line as an event; None for a line that is none (cut off by a kill, of a later version, or made up)."""
    try:
        return _ADAPTER.validate_python(json.loads(line))
    except (ValueError, RecursionError):
        return None


def read_events(path: Path) -> Iterator[Event]:
    """All whole events of a file, oldest first; nothing if there is no file."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in _lines(file):
            if (event := parse_event(line.decode(errors="replace"))) is not None:
                yield event


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file but for those that are too long for an event, of which little is read at a time."""
    goes_on = False
    while piece := file.readline(_LONGEST_LINE):
        is_rest, goes_on = goes_on, len(piece) == _LONGEST_LINE and not piece.endswith(b"\n")
        if not is_rest and not goes_on:
            yield piece
