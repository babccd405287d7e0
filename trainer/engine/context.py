"""What a run is given besides its folder, and what it does before its first step: its base comes, a stop is heard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from trainer.bases import BaseReference
from trainer.engine.base.files import base_folder
from trainer.engine.base.hub_download import Progress
from trainer.engine.base.hub_patience import Patience
from trainer.engine.checkpoint import newest_step
from trainer.errors import TrainingStopped
from trainer.events import Emit, Phase, PhaseChanged, Stopped, Warned
from trainer.machine.process import StopKind, StopSignal
from trainer.run_folder import RunFolder


@dataclass(frozen=True)
class RunContext:
    """What a run is given besides its folder."""

    emit: Emit
    stop: StopSignal
    cache: Path
    before_step: Callable[[], None] = lambda: None
    """Called before every step; a place for the machine's house rules, such as sharing its cores."""
    token: str | None = field(default=None, repr=False)
    """Of who asked for the run, for what the Hub shows to them; None: as this machine is signed in, if it is."""


def bring_base(run: RunFolder, base: BaseReference, context: RunContext) -> Path:
    """The folder of a run's base, downloaded if need be, however long the Hub is away. Raises as `base_folder` does."""
    progress, patience = waiting_for_hub(run, context)
    return base_folder(base, context.cache, progress, token=context.token, patience=patience)


def waiting_for_hub(run: RunFolder, context: RunContext) -> tuple[Progress, Patience]:
    """How a run tells of megabytes and of a Hub that is away, and ends there where a stop is requested."""

    def look() -> None:
        stop_before_training(run, context, newest_step(run))

    def tell(done: int, total: int) -> None:
        context.emit(PhaseChanged(phase=Phase.prepare, done=done, total=total, unit="MB"))
        look()

    return tell, Patience(look, warn=lambda text: context.emit(Warned(text=text)))


def stop_before_training(run: RunFolder, context: RunContext, start: int) -> None:
    """End a run that has not reached its first step, if a stop is requested.

    One that is to keep what an earlier start learnt goes on: training will end at once, and that is exported.
    """
    if context.stop.requested() and not (context.stop.kind is StopKind.keep and start > 0):
        stop_run(run, context, start)


def stop_run(run: RunFolder, context: RunContext, steps: int) -> NoReturn:
    """End a run after a number of steps, with the checkpoint of the last one if there is one."""
    folder = run.checkpoint_folder(steps)
    context.emit(Stopped(step=steps, checkpoint=run.relative(folder) if folder.exists() else ""))
    raise TrainingStopped(steps)
