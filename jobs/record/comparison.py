"""comparison.json in the run folder: that a job was queued together with another one, on the same photos."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from jobs.record.bill import Bill
from jobs.record.remote_run import RemoteRun
from trainer.recipe.config import TrainConfig
from trainer.run_folder import RunFolder
from trainer.whole_files import read_model, write_model

_FILE = "comparison.json"


@dataclass(frozen=True)
class Order:
    """One training to queue: the recipe, on what conditions it may cost money, and where at Hugging Face it trains."""

    recipe: TrainConfig
    bill: Bill | None = None
    remote: RemoteRun | None = None


class Comparison(BaseModel):
    """The file's content, the same for both jobs. The id is that of the press that queued them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    jobs: tuple[str, str]
    """In the order in which they were queued."""

    def other(self, job_id: str) -> str:
        """The job that this one is compared with."""
        first, second = self.jobs
        return second if job_id == first else first


def comparison_of_press(press_id: str) -> Comparison:
    """The comparison that a press of the button makes; a second press with the same id makes the same one."""
    second = hashlib.sha256(f"{press_id} compared".encode()).hexdigest()[: len(press_id)]
    return Comparison(id=press_id, jobs=(press_id, second))


def read_comparison(run: RunFolder) -> Comparison | None:
    """None for a job that was queued alone, or whose file is damaged."""
    return read_model(_file(run), Comparison)


def write_comparison(run: RunFolder, comparison: Comparison) -> None:
    write_model(_file(run), comparison)


def _file(run: RunFolder) -> Path:
    return run.root / _FILE
