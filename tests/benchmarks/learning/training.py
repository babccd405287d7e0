"""What both sides' trainings have in common: a process of one thread, its time, and where its result lies."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tests import ROOT
from tests.benchmarks.learning.painter import Learnt

LOG_FILE = "training.log"
LOG_TAIL = 1500


class TrainingFailed(Exception):
    """A training process ended with an error; its last words are the message."""


@dataclass(frozen=True)
class Trained:
    """A finished training. `seconds` is wall time and `cpu_seconds` processor time of the whole command."""

    learnt: Learnt
    steps: int
    seconds: float
    cpu_seconds: float
    said: Mapping[str, float] = field(default_factory=dict[str, float])
    """What the training said of its own result; nothing where it does not measure."""

    @property
    def cost_s(self) -> float:
        """The time that sides are compared by: processor time where there is no GPU, so that a busy machine changes
        nothing."""
        return self.seconds if torch.cuda.is_available() else self.cpu_seconds


def run_timed(command: Sequence[str], place: Path, environment: Mapping[str, str]) -> tuple[float, float]:
    """Run one training in a process of one thread, its output in `place`; wall and processor seconds.

    Raises TrainingFailed.
    """
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    began, used = time.monotonic(), _children_cpu_s()
    log = place / LOG_FILE
    with log.open("wb") as output:
        process = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **one_thread, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if process.returncode:
        raise TrainingFailed(f"{' '.join(command[:4])} ended with {process.returncode}: {log.read_text()[-LOG_TAIL:]}")
    return time.monotonic() - began, _children_cpu_s() - used


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
