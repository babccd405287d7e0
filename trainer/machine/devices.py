"""Which devices this machine has, found without torch, so that the page may ask."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

APPLE_GPU = "Apple GPU"
_SAID = ("uuid", "name")


@dataclass(frozen=True)
class Device:
    """Something that one job at a time can train on. `index` is a GPU's number, None for the processor."""

    index: int | None
    name: str
    answers: bool = True
    """False for a GPU that is there while the driver says nothing of it."""

    @property
    def key(self) -> str:
        """Names the device in lock files and executor ids."""
        return "cpu" if self.index is None else f"gpu-{self.index}"

    @property
    def label(self) -> str:
        """As messages call it."""
        return "The CPU" if self.index is None else f"GPU {self.index}"


def find_devices(visible: str | None = None) -> list[Device]:
    """Every NVIDIA GPU that the driver reports, else the processor (which on a Mac includes its GPU).

    `visible` is CUDA_VISIBLE_DEVICES, where that is set: numbers or ids of the GPUs that may be used.
    """
    return [device for device, uuid in _nvidia_gpus() if _may_use(device, uuid, visible)] or [cpu()]


def only(device: Device) -> dict[str, str]:
    """The environment in which CUDA has this GPU alone; numbers are then those of the driver. Nothing for a CPU."""
    if device.index is None:
        return {}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(device.index)}


def cpu() -> Device:
    """The processor as a device."""
    cores = usable_cores()
    chip = APPLE_GPU if platform.system() == "Darwin" and platform.machine() == "arm64" else None
    return Device(None, chip or f"{cores} CPU {'core' if cores == 1 else 'cores'}")


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _may_use(device: Device, uuid: str, visible: str | None) -> bool:
    if visible is None:
        return True
    named = [part.strip() for part in visible.split(",")]
    by_id = [part for part in named if part.startswith("GPU-")]
    return str(device.index) in named or any(not uuid or uuid.startswith(part) for part in by_id)


def _silent_gpus(nodes: Path = Path("/dev"), bus: Path = Path("/sys/bus/pci/devices")) -> list[int]:
    """The numbers of the GPUs that are there with a broken driver, which is no reason to train on the CPU.

    One that is not in the kernel at all, as after an upgrade of it, has made no nodes: then those on the bus count.
    """
    numbers = (node.name.removeprefix("nvidia") for node in nodes.glob("nvidia*"))
    return sorted(int(number) for number in numbers if number.isdigit()) or list(range(_plugged_in(bus)))


def _plugged_in(bus: Path) -> int:
    def is_gpu(slot: Path) -> bool:
        try:
            vendor, kind = ((slot / name).read_text().strip() for name in ("vendor", "class"))
        except OSError:
            return False
        return vendor == "0x10de" and kind.startswith("0x03")  # NVIDIA's, and for display or computing

    return sum(map(is_gpu, bus.glob("*")))


def _nvidia_gpus() -> list[tuple[Device, str]]:
    """Each GPU with the driver's id for it, which is unknown where the driver does not answer."""
    query = ["nvidia-smi", f"--query-gpu=index,{','.join(_SAID)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        return []
    except (OSError, subprocess.SubprocessError):
        return [(Device(index, "NVIDIA GPU", answers=False), "") for index in _silent_gpus()]
    devices: list[tuple[Device, str]] = []
    for line in answer.stdout.splitlines():
        index, *said = (part.strip() for part in line.split(",", 2))
        if index.isdigit() and len(said) == len(_SAID):  # it also says in words that there is none
            uuid, name = said
            devices.append((Device(int(index), name), uuid))
    return devices
