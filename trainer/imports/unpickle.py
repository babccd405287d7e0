"""`python -m trainer.imports.unpickle IN OUT`: an embedding in a file of PyTorch's, as safetensors.

Runs in a process of its own with little memory and little time, after `torch_zip` looked the file through.
PyTorch opens it with `weights_only`, which refuses whatever is not a tensor or a plain container. It lies outside the
engine, which would load four times as much into this process as it needs.
"""

from __future__ import annotations

import contextlib
import pickle
import resource
import sys
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType] - its PathLike says not of what

from trainer.errors import EXIT_DONE, EXIT_REQUEST, WeightsError

MEMORY_BYTES = 2**30
TIME_S = 60
NAME = "emb_params"
"""What the one tensor is called in the safetensors file that comes out."""


def convert(source: Path, target: Path) -> None:
    """Read one embedding from `source` and write it to `target`. Raises WeightsError, in words."""
    try:
        content: Any = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, MemoryError) as error:
        raise WeightsError("PyTorch refuses to open it as tensors alone.") from error
    save_file({NAME: _vectors(content)}, target)


def _vectors(content: Any) -> torch.Tensor:
    """The vectors in AUTOMATIC1111's and the original project's layout, or in that of diffusers' `.bin` files."""
    if not isinstance(content, dict):
        raise WeightsError("It holds no embedding.")
    table = cast("dict[str, Any]", content)
    if isinstance(inner := table.get("string_to_param"), dict):
        table = cast("dict[str, Any]", inner)
    tensors = [value for value in table.values() if isinstance(value, torch.Tensor)]
    if len(tensors) != 1 or not tensors[0].is_floating_point() or not 1 <= tensors[0].ndim <= 2:
        raise WeightsError(f"It holds {len(tensors)} tensors where an embedding has one.")
    return tensors[0].detach().float().clone().contiguous()


def _limit_this_process() -> None:
    """Only on Linux can memory be bounded this way; elsewhere the size of the file bounds it."""
    resource.setrlimit(resource.RLIMIT_CPU, (TIME_S, TIME_S))
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        used = int(next(line for line in lines if line.startswith("VmData")).split()[1]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY_BYTES, used + MEMORY_BYTES))


def main(arguments: list[str]) -> int:
    """Convert; what is refused is the one line on standard error."""
    _limit_this_process()
    try:
        convert(Path(arguments[0]), Path(arguments[1]))
    except WeightsError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_REQUEST
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
