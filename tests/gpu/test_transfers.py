"""What a forward pass sends to the GPU."""

from __future__ import annotations

import pytest
import torch

from trainer.engine.noise import KeyedNoise


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature")
def test_noise_is_that_of_a_cpu_and_is_not_waited_for() -> None:
    gpu, cpu = (KeyedNoise(1, torch.device(kind)) for kind in ("cuda", "cpu"))
    gpu.normal(0, "noise", (3, 5))  # makes the context, and memory that is pinned
    torch.cuda.set_sync_debug_mode("error")
    try:
        drawn = gpu.normal(1, "noise", (3, 5)), gpu.integers(1, "timestep", 1000, (3,))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(drawn[0].cpu(), cpu.normal(1, "noise", (3, 5)))
    assert torch.equal(drawn[1].cpu(), cpu.integers(1, "timestep", 1000, (3,)))
