"""Checkpoints: whole or absent, checked by hash when they are read, the newest good one wins."""

from __future__ import annotations

import json
import logging
import pickle
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from trainer.artifact import sha256_of
from trainer.events import CheckpointWritten, Emit, Warned
from trainer.run_folder import RunFolder
from trainer.whole_files import written_aside

log = logging.getLogger(__name__)
_NAME = re.compile(r"step-(\d{6})")
_WEIGHTS, _AVERAGE, _OPTIMIZER, _META = "weights.safetensors", "average.safetensors", "optimizer.pt", "checkpoint.json"


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on as if it had never stopped."""

    step: int
    weights: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    average: dict[str, torch.Tensor]
    rate_scale: float
    """What the learning rate was multiplied with after rewinds."""


class Checkpoints:
    """The checkpoints of one run folder."""

    def __init__(self, run: RunFolder, emit: Emit, *, keep: int) -> None:
        self._run, self._emit, self._keep = run, emit, keep

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint aside, rename it, and drop the oldest beyond the number to keep.

        Later ones go, too: that the run came by here again means that they were passed over as damaged.
        """
        target = self._run.checkpoints / f"step-{checkpoint.step:06d}"
        with written_aside(target) as folder:
            save_file(_stored(checkpoint.weights), folder / _WEIGHTS)
            if checkpoint.average:
                save_file(_stored(checkpoint.average), folder / _AVERAGE)
            torch.save(checkpoint.optimizer, folder / _OPTIMIZER)
            hashes = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
            meta = {"step": checkpoint.step, "rate_scale": checkpoint.rate_scale, "sha256": hashes}
            (folder / _META).write_text(json.dumps(meta, indent=2), encoding="utf-8")
        kept = [folder for folder in self._folders() if folder.name <= target.name][-self._keep :]
        for other in self._folders():
            if other not in kept:
                shutil.rmtree(other)
        self._emit(CheckpointWritten(step=checkpoint.step, path=self._run.relative(target)))

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; damaged ones are named in a warning and passed over."""
        for folder in reversed(self._folders()):
            try:
                return _read(folder)
            except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
                log.warning("checkpoint %s: %s", folder, error)
                self._emit(Warned(text=f"The checkpoint {folder.name} is damaged, so it is passed over."))
        return None

    def _folders(self) -> list[Path]:
        return _folders(self._run)


def newest_step(run: RunFolder) -> int:
    """The step of a run's newest checkpoint, whole or not; 0 without one."""
    folders = _folders(run)
    return int(folders[-1].name.removeprefix("step-")) if folders else 0


def _folders(run: RunFolder) -> list[Path]:
    if not run.checkpoints.is_dir():
        return []
    return sorted(entry for entry in run.checkpoints.iterdir() if _NAME.fullmatch(entry.name))


def _read(folder: Path) -> Checkpoint:
    meta = json.loads((folder / _META).read_text(encoding="utf-8"))
    for name, expected in meta["sha256"].items():
        if sha256_of(folder / name) != expected:
            raise ValueError(f"{name} is not what was written")
    average = folder / _AVERAGE
    return Checkpoint(
        step=int(meta["step"]),
        weights=load_file(folder / _WEIGHTS),
        optimizer=torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True),
        average=load_file(average) if average.exists() else {},
        rate_scale=float(meta["rate_scale"]),
    )


def _stored(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
