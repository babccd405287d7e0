"""Carries out what a run folder says, in this process: every outcome is an event and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from typing import TYPE_CHECKING

from trainer.artifact import read_manifest
from trainer.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_STOPPED,
    ConceptError,
    RequestError,
    StudioError,
    TrainingError,
    TrainingStopped,
    VerificationError,
)
from trainer.events import Emit, Event, Failed, Warned
from trainer.imports.task import has_task
from trainer.machine.cores import CoreShare
from trainer.machine.process import StopSignal, leave
from trainer.narrate import narrate
from trainer.run_folder import RunFolder
from trainer.settings import Settings

if TYPE_CHECKING:
    from trainer.engine.context import RunContext  # torch


def run_in_engine(run: RunFolder, options: argparse.Namespace) -> int:
    """Train, carry out a task or, where a run is finished, verify it; every outcome is an event and an exit code."""
    stop = StopSignal()
    try:
        stop.install(at_once=has_task(run))
        with run.locked():
            return _engine_run(run, options, stop, _emitter(run, as_json=options.json))
    except KeyboardInterrupt:  # only what writes aside is stopped in this way
        what = "it was taken in already, and resume completes it" if run.has_result else "nothing was taken in"
        print(f"Stopped; {what}.", file=sys.stderr)
        return EXIT_STOPPED


def _engine_run(run: RunFolder, options: argparse.Namespace, stop: StopSignal, emit: Emit) -> int:
    from trainer.engine.context import RunContext  # noqa: PLC0415
    from trainer.engine.device import own_cores, use_share  # noqa: PLC0415 - the engine brings torch
    from trainer.engine.failures import explain  # noqa: PLC0415

    settings: Settings = options.settings
    cores = CoreShare(settings.runtime_dir / "cores", own_cores())
    try:
        with cores.computing():
            context = RunContext(emit, stop, settings.cache_dir, lambda: use_share(cores), options.token)
            _see_through(run, context)
    except TrainingStopped as stopped:
        print(stopped, file=sys.stderr)
        return stopped.exit_code
    except Exception as error:  # noqa: BLE001 - the last place that can tell the person what happened
        return _failed(error, explain(error), emit)
    return EXIT_DONE


def _see_through(run: RunFolder, context: RunContext) -> None:
    """Verify what is finished; begin or go on with anything else, and with a training whose result was damaged."""
    from trainer.engine.imports.run import carry_out, verify_task  # noqa: PLC0415 - the engine brings torch
    from trainer.engine.run import run_training, verify_run  # noqa: PLC0415

    is_finished = _is_finished(run)
    if has_task(run):
        if is_finished:
            verify_task(run, context)
        else:
            carry_out(run, context)
        return
    if is_finished:
        try:
            verify_run(run, context.cache)
            return
        except VerificationError as error:
            context.emit(Warned(text=f"{error.cause} It is written again."))
    run_training(run, context)


def _is_finished(run: RunFolder) -> bool:
    try:
        manifest = read_manifest(run.artifact)
        return has_task(run) or manifest.steps >= run.read_recipe().steps
    except ConceptError:
        return False


def _failed(error: Exception, explained: StudioError, emit: Emit) -> int:
    if error is not explained:
        logging.getLogger(__name__).error("unexpected", exc_info=error)
    cause, advice = (
        (explained.cause, explained.advice) if isinstance(explained, TrainingError) else (str(explained), "")
    )
    with contextlib.suppress(OSError):  # a disk that is still full, or nobody who reads
        emit(Failed(cause=cause, advice=advice))
    print(explained, file=sys.stderr)
    return explained.exit_code if isinstance(explained, RequestError) else EXIT_FAILED


def _emitter(run: RunFolder, *, as_json: bool) -> Emit:
    log = run.events

    def emit(event: Event, /) -> None:
        if run.is_anothers():  # this machine slept meanwhile; whatever it said or kept now would be mixed into theirs
            print("Another machine has this run by now.", file=sys.stderr)
            leave(EXIT_STOPPED)
        log(event)
        if line := event.model_dump_json() if as_json else narrate(event):
            print(line, flush=True)

    return emit
