from __future__ import annotations

import errno

import pytest
import torch
from safetensors import SafetensorError

from trainer.engine.failures import explain
from trainer.errors import BaseModelError


@pytest.mark.fault(15)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "GPU ran out of memory"),
        (RuntimeError("CUDA error: out of memory"), "GPU ran out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), "GPU ran out of memory"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), "GPU ran out of memory"),
        (MemoryError(), "machine ran out of memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), "machine ran out"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk is full"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"), "disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "/data/x"), "/data/x cannot be written"),
        (OSError(errno.EACCES, "Permission denied"), "A file cannot be written"),
        (RuntimeError("CUDA error: unspecified launch failure"), "GPU was lost"),
        (KeyError("surprise"), "unexpected error"),
    ],
)
def test_every_failure_has_a_cause_and_an_advice(error: Exception, words: str) -> None:
    explained = explain(error)
    assert words in explained.cause  # type: ignore[attr-defined]
    assert explained.advice  # type: ignore[attr-defined]


def test_our_own_errors_speak_for_themselves() -> None:
    error = BaseModelError("There is no such model.")
    assert explain(error) is error
