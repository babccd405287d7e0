"""Models of the original layout, changed in their tensors."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def changed(file: Path, target: Path, metadata: dict[str, str] | None = None, **tensors: torch.Tensor) -> Path:
    save_file(load_file(file) | tensors, target, metadata=metadata)
    return target


def widened(file: Path, target: Path, width: int, metadata: dict[str, str] | None = None) -> Path:
    """The file with text states of another width, as 1.x and 2.x have; only its header is ever read."""
    tensors = load_file(file)
    wide = {n: torch.zeros(t.shape[0], width) for n, t in tensors.items() if ".attn2.to_k." in n}
    return changed(file, target, metadata, **wide)
