"""How long a job takes and still needs, where anything is known of that."""

from __future__ import annotations

from jobs.runs.progress import progress_of
from jobs.runs.speed import Speeds
from trainer.errors import RequestError
from trainer.run_folder import RunFolder


def seconds_needed(run: RunFolder, speeds: Speeds) -> float | None:
    """How long the whole of it takes, by what was measured of others like it."""
    try:
        return speeds.seconds_for(run.read_recipe())
    except RequestError:  # its files are away, or those of another version of the app
        return None


def seconds_left(run: RunFolder, speeds: Speeds) -> float | None:
    """How long it still needs: by its own pace, or before that is known as `seconds_needed` says."""
    eta = progress_of(run.events_file).eta_s
    return eta if eta is not None else seconds_needed(run, speeds)
