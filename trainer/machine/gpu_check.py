"""Whether PyTorch can compute on the GPU of this process. As a program it says why not, and exits with 1."""

from __future__ import annotations

import sys

import torch

from trainer.machine.devices import find_devices
from trainer.settings import Settings


def gpu_trouble() -> str:
    """Why PyTorch cannot use the GPU that the driver reports, in words; empty where it can, or where there is none."""
    gpu = find_devices(Settings().visible_gpus)[0]
    if gpu.index is None:
        return ""
    cannot = f"PyTorch cannot use {gpu.label} ({gpu.name}): "
    if not gpu.answers and not torch.cuda.is_available():
        return f"{cannot}its driver does not answer. CUDA_VISIBLE_DEVICES set to nothing lets the CPU train instead."
    if torch.version.cuda is None:
        return f"{cannot}this PyTorch was built without CUDA."
    if not torch.cuda.is_available():
        return f"{cannot}the driver is too old for CUDA {torch.version.cuda}, or the GPU is gone."
    try:
        torch.ones(8, device="cuda").sum().item()
    except RuntimeError as error:
        return f"{cannot}{str(error).splitlines()[0]}."
    return ""


if __name__ == "__main__":
    words = gpu_trouble()
    sys.stdout.write(words)
    sys.exit(1 if words else 0)
