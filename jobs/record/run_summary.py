"""What a job's row says of its run folder: the same few facts of a recipe and of a task."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.artifact import read_manifest
from trainer.imports.task import ExtractTask, ImportTask, has_task, read_task
from trainer.recipe.config import TrainConfig
from trainer.run_folder import RunFolder


@dataclass(frozen=True)
class RunSummary:
    """Columns of the jobs table. `method` is empty for an import whose method is known when it is here."""

    name: str
    method: str
    kind: str
    base: str
    steps: int


def summary_of(work: TrainConfig | ImportTask | ExtractTask) -> RunSummary:
    """Of a recipe, or of a task, which has no steps."""
    method = work.method.value if work.method else ""
    steps = 0 if isinstance(work, ImportTask | ExtractTask) else work.steps
    return RunSummary(work.name, method, work.kind.value, work.base, steps)


def summary_of_run(run: RunFolder) -> RunSummary:
    """Of a run folder. Raises RequestError or RecipeError where it says nothing that can be read."""
    return summary_of(read_task(run) if has_task(run) else run.read_recipe())


def is_run(run: RunFolder) -> bool:
    """Whether the folder still says what to do."""
    return has_task(run) or run.config_file.exists()


def finished_words(run: RunFolder) -> str:
    """A sentence about a finished job."""
    origin = read_manifest(run.artifact).origin
    if origin is None:
        return "Trained and verified."
    note = f" {origin.note[0].upper()}{origin.note[1:]}." if origin.note else ""
    return f"{origin.words[0].upper()}{origin.words[1:]}, and verified.{note}"
