"""Embeddings in PyTorch's own files (.pt, .bin): looked through before PyTorch opens them, because they are pickles.

A pickle is a program. What it may call is listed in it, so it can be judged without running it: rebuilding tensors is
allowed, everything else is refused. PyTorch then opens the file with `weights_only`, in a process with limits.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from pathlib import Path

from trainer.errors import WeightsError

MAX_FILE_BYTES = 64_000_000
MAX_PROGRAM_BYTES = 2**20
MAX_ENTRIES = 2000
_STORAGES = {"FloatStorage", "HalfStorage", "BFloat16Storage", "DoubleStorage", "LongStorage", "IntStorage"}
_ALLOWED = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.Size",
    *(f"torch.{name}" for name in _STORAGES),
}


def check_torch_zip(path: Path) -> None:
    """Raise WeightsError unless the file holds tensors and nothing that runs."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise WeightsError(
            "A pickled file of this size is not an embedding; only safetensors may be larger than 64 MB."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_entries(entries)
            programs = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
            if len(programs) != 1:
                raise WeightsError("It is a ZIP, but not one that PyTorch wrote.")
            program = archive.read(programs[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise WeightsError("It is damaged: its parts cannot be read.") from error
    if unknown := called_by(program) - _ALLOWED:
        names = ", ".join(sorted(unknown)[:3])
        raise WeightsError(f"It is a pickle that would run {names} when it is opened. It was not opened.")


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MAX_ENTRIES:
        raise WeightsError("It is a ZIP of thousands of files, not an embedding.")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WeightsError("It is a compressed ZIP; PyTorch does not write those, and they may unpack without end.")
    if sum(entry.file_size for entry in entries) > MAX_FILE_BYTES:
        raise WeightsError("It claims to hold more than an embedding can.")
    if any(entry.file_size > MAX_PROGRAM_BYTES for entry in entries if entry.filename.endswith("/data.pkl")):
        raise WeightsError("Its pickle is too large for an embedding's.")


def called_by(program: bytes) -> set[str]:
    """Everything that a pickle would look up when it runs, as module.name."""
    found: set[str] = set()
    try:
        for operation, argument, _ in pickletools.genops(io.BytesIO(program)):
            name = operation.name
            if name in ("GLOBAL", "INST"):
                found.add(str(argument).replace(" ", "."))
            elif name == "STACK_GLOBAL" or name.startswith("EXT"):  # torch.save never writes them
                found.add("something that it only names while it runs")
    except Exception as error:  # pickletools raises whatever a broken program makes it stumble over
        raise WeightsError("It is damaged: its pickle cannot be read.") from error
    return found
