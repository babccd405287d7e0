"""Checkpoints: whole or absent, checked by hash when they are read, the newest good one wins."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
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
_WEIGHTS, _AVERAGE, _OPTIMIZER, _META = "weights.safetensors", "average.safetensors", "optimizer.pt", "checkpoint.json"


@dataclass(frozen=True)
class OptimizerState:
    """What the optimizer knows of its parameters, and the scale of the loss where fp16 needs one."""

    states: dict[str, Any]
    scaler: dict[str, Any] | None


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on as if it had never stopped."""

    step: int
    weights: dict[str, torch.Tensor]
    optimizer: OptimizerState
    average: dict[str, torch.Tensor]
    """What is exported instead of the weights, under the same names; empty where none is kept."""
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
        target = self._run.checkpoint_folder(checkpoint.step)
        with written_aside(target) as folder:
            hashes = _write_weights(checkpoint, folder)
            meta = {"step": checkpoint.step, "rate_scale": checkpoint.rate_scale, "sha256": hashes}
            (folder / _META).write_text(json.dumps(meta, indent=2), encoding="utf-8")
        there = self._run.checkpoint_steps
        kept = [step for step in there if step <= checkpoint.step][-self._keep :]
        for other in set(there) - set(kept):
            shutil.rmtree(self._run.checkpoint_folder(other))
        self._emit(CheckpointWritten(step=checkpoint.step, path=self._run.relative(target)))

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; damaged ones are named in a warning and passed over."""
        for step in reversed(self._run.checkpoint_steps):
            folder = self._run.checkpoint_folder(step)
            try:
                return _read(folder)
            except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
                log.warning("checkpoint %s: %s", folder, error)
                self._emit(Warned(text=f"The checkpoint {folder.name} is damaged, so it is passed over."))
        return None


def _write_weights(checkpoint: Checkpoint, folder: Path) -> dict[str, str]:
    """Write all that is large; the files' hashes, by name.

    Each file is hashed while the next is written, the largest first: a machine that takes itself back waits for 20 s.
    """
    hashes: dict[str, Future[str]] = {}
    with ThreadPoolExecutor(max_workers=3, thread_name_prefix="checkpoint") as hashing:
        optimizer = {"optimizer": checkpoint.optimizer.states, "scaler": checkpoint.optimizer.scaler}
        torch.save(optimizer, folder / _OPTIMIZER)
        hashes[_OPTIMIZER] = hashing.submit(sha256_of, folder / _OPTIMIZER)
        average = {_AVERAGE: checkpoint.average} if checkpoint.average else {}
        for name, tensors in {_WEIGHTS: checkpoint.weights, **average}.items():
            save_file(_stored(tensors), folder / name)
            hashes[name] = hashing.submit(sha256_of, folder / name)
    return {name: hashed.result() for name, hashed in sorted(hashes.items())}


def newest_step(run: RunFolder) -> int:
    """The step of a run's newest checkpoint, whole or not; 0 without one."""
    return max(run.checkpoint_steps, default=0)


def result_at(run: RunFolder, step: int) -> dict[str, torch.Tensor]:
    """The weights, by the method's own names, that would have been the result if training had ended at a checkpoint.

    Raises OSError, ValueError or SafetensorError where it is not there, or damaged.
    """
    folder = run.checkpoint_folder(step)
    hashes = json.loads((folder / _META).read_text(encoding="utf-8"))["sha256"]
    name = _AVERAGE if _AVERAGE in hashes else _WEIGHTS
    _check_hash(folder / name, hashes[name])
    return load_file(folder / name)


def _read(folder: Path) -> Checkpoint:
    meta = json.loads((folder / _META).read_text(encoding="utf-8"))
    for name, expected in meta["sha256"].items():
        _check_hash(folder / name, expected)
    average = folder / _AVERAGE
    optimizer = torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True)
    return Checkpoint(
        step=int(meta["step"]),
        weights=load_file(folder / _WEIGHTS),
        optimizer=OptimizerState(optimizer["optimizer"], optimizer["scaler"]),
        average=load_file(average) if average.exists() else {},
        rate_scale=float(meta["rate_scale"]),
    )


def _check_hash(file: Path, expected: str) -> None:
    if sha256_of(file) != expected:
        raise ValueError(f"{file.name} is not what was written")


def _stored(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
