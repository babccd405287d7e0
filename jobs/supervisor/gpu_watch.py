"""Keeps a GPU that PyTorch cannot use out of the pool: jobs go elsewhere or wait until it can; the page says why."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from trainer.machine.devices import Device, find_devices, only
from trainer.machine.process import ROOT
from trainer.whole_files import write_whole

log = logging.getLogger(__name__)
_PATIENCE_S = 120.0


class GpuWatch:
    """Watches one device; a CPU is always usable."""

    def __init__(self, runtime: Path, device: Device, environment: dict[str, str]) -> None:
        self._device, self._environment = device, environment
        self._file = _file(runtime, device)
        self._is_good = device.index is None

    def doubt(self) -> None:
        """Something went wrong: look again before the next job."""
        self._is_good = self._device.index is None

    def check(self) -> bool:
        """Look now, unless all was well the last time; trouble is written down for the page."""
        if not self._is_good:
            words = self._trouble()
            self._is_good = not words
            if words:
                log.warning("%s", words)
                write_whole(self._file, words)
            else:
                self._file.unlink(missing_ok=True)
        return self._is_good

    def _trouble(self) -> str:
        """In a process of its own: who has used CUDA keeps memory on the GPU, and one that is lost may hang."""
        if self._device.index not in {device.index for device in find_devices()}:
            return f"{self._device.label} ({self._device.name}) is gone: the driver does not report it."
        command = [sys.executable, "-m", "trainer.machine.gpu_check"]
        environment = self._environment | only(self._device)
        try:
            said = subprocess.run(
                command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE_S
            )
        except subprocess.TimeoutExpired:
            return f"{self._device.label} does not answer."
        if said.returncode == 0:
            return ""
        return said.stdout.decode(errors="replace").strip() or f"{self._device.label} cannot be used."


def gpu_trouble(runtime: Path, devices: Iterable[Device]) -> list[str]:
    """What is wrong with these devices, as far as their supervisors know."""
    files = (_file(runtime, device) for device in devices)
    return [file.read_text(encoding="utf-8") for file in files if file.exists()]


def _file(runtime: Path, device: Device) -> Path:
    return runtime / f"{device.key}.trouble"
