"""What a run's events say about it now: from the events file to what the page draws."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from trainer.events import (
    CheckpointWritten,
    Event,
    Failed,
    Finished,
    Measured,
    Phase,
    PhaseChanged,
    Preview,
    Started,
    Step,
    Stopped,
    Warned,
    read_events,
)

PHASES = tuple(Phase)
TASK_PHASES = (Phase.prepare, Phase.export, Phase.verify)
"""Of a job that takes something in instead of training."""
# Where the progress bar stands when a phase begins; training takes nearly all of a run's time.
_BEGINS = {
    Phase.prepare: 0.0,
    Phase.class_images: 0.02,
    Phase.cache: 0.06,
    Phase.train: 0.08,
    Phase.export: 0.96,
    Phase.verify: 0.98,
}
_TRAIN_SHARE = _BEGINS[Phase.export] - _BEGINS[Phase.train]


@dataclass
class Progress:
    """The state of a run as its events tell it. Shared by all who ask: nobody but `read_progress` changes one."""

    phase: Phase | None = None
    phase_done: int | None = None
    phase_total: int | None = None
    phase_unit: str | None = None
    step: int = 0
    total: int = 0
    steps_per_second: float = 0.0
    eta_s: float | None = None
    losses: dict[int, float] = field(default_factory=dict[int, float])
    previews: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    warnings: list[str] = field(default_factory=list[str])
    device: str = ""
    attention: str = ""
    precision: str = ""
    checkpoint_step: int = 0
    resumed_from: int = 0
    seconds: float | None = None
    worked_s: float = 0.0
    """Over all of its starts; loading, downloads and interruptions do not count."""
    begins: list[float] = field(default_factory=list[float])
    """Each moment at which it got ready, in POSIX seconds."""
    measured: Measured | None = None
    failure: Failed | None = None

    def waited_s(self, queued: float) -> float | None:
        """Seconds from a place in the queue until the run got ready; an interruption later does not count."""
        return next((moment - queued for moment in self.begins if moment >= queued), None)

    @property
    def fraction(self) -> float:
        """0 to 1, over all phases."""
        if self.seconds is not None:
            return 1.0
        if self.phase is None:
            return 0.0
        begin = _BEGINS[self.phase]
        if self.phase is Phase.train and self.total:
            return begin + _TRAIN_SHARE * self.step / self.total
        return begin


_KEPT: dict[Path, tuple[tuple[int, int], Progress]] = {}
"""By events file: its size and time of change when it was read, and what it said."""
_MOST_KEPT = 16384
"""Some 20 KB each for a hundred reports of steps. Beyond that each look at all of them reads thousands again."""
_KEEPING = threading.Lock()


def progress_of(events_file: Path) -> Progress:
    """The state of a run now, from its events file; one that has not changed since is not read again.

    Every open page asks every few seconds for all jobs that it shows, and most of them ended long ago.
    """
    try:
        status = events_file.stat()
    except OSError:
        return Progress()
    as_of = status.st_size, status.st_mtime_ns
    kept = _KEPT.get(events_file)
    if kept is None or kept[0] != as_of:
        kept = as_of, read_progress(read_events(events_file))
        with _KEEPING:
            _KEPT.pop(events_file, None)
            _KEPT[events_file] = kept
            if len(_KEPT) > _MOST_KEPT:  # any: pages read all in one order, and the oldest would be asked for next
                del _KEPT[random.choice(tuple(_KEPT))]
    return kept[1]


def read_progress(events: Iterable[Event]) -> Progress:
    """Fold events into a Progress; a later event of a step replaces an earlier one."""
    progress, previous = Progress(), None
    for event in events:
        if isinstance(event, Started) or (isinstance(event, PhaseChanged) and event.phase is Phase.prepare):
            progress.begins.append(event.time.timestamp())
        elif previous is not None:
            progress.worked_s += max(0.0, (event.time - previous.time).total_seconds())
        _apply(progress, event)
        previous = event
    return progress


def _apply(progress: Progress, event: Event) -> None:
    match event:
        case Started():
            progress.device, progress.attention, progress.precision = event.device, event.attention, event.precision
            progress.resumed_from = event.resumed_from
            progress.failure, progress.seconds, progress.eta_s, progress.measured = None, None, None, None
            progress.step = event.resumed_from
            progress.losses = {step: loss for step, loss in progress.losses.items() if step <= event.resumed_from}
        case PhaseChanged():
            progress.phase, progress.phase_done, progress.phase_total = event.phase, event.done, event.total
            progress.phase_unit = event.unit
            if event.phase is Phase.prepare:
                progress.failure = None  # tasks say nothing else of a new start
        case Step():
            progress.step, progress.total = event.step, event.total
            progress.steps_per_second, progress.eta_s = event.steps_per_second, event.eta_s
            progress.losses[event.step] = event.loss
        case Preview():
            progress.previews[event.step] = event.files
        case CheckpointWritten():
            progress.checkpoint_step = event.step
        case Warned():
            progress.warnings.append(event.text)
        case Measured():
            progress.measured = event
        case Finished():
            progress.seconds, progress.eta_s = event.seconds, None
        case Stopped():
            progress.eta_s = None
        case Failed():
            progress.failure, progress.eta_s = event, None
