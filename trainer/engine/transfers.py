"""Small tensors on their way to the device, many times in every step."""

from __future__ import annotations

import torch


def to_device(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor in the machine's own memory, on a device. Neither the copy nor what a GPU has yet to do is waited for.

    From pageable memory CUDA would copy only after all earlier work, while the caller waits and prepares nothing.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
