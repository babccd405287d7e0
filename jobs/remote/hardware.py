"""What machines Jobs can run on and what they cost now: asked of the Hub, never written down here."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass

from huggingface_hub import JobHardwareInfo

from jobs.hub.client import hub_errors, open_hub
from jobs.hub.prices import usd_per_hour
from trainer.errors import HubError, RequestError

_REMEMBER_S, _REMEMBER_FAILURE_S = 600.0, 20.0


@dataclass(frozen=True)
class Flavor:
    """A machine to rent."""

    name: str
    words: str
    usd_per_hour: float
    has_gpu: bool
    gpu_bytes: int | None = None
    """The memory of its GPU; None where it has none or several, or the Hub does not say it."""

    @property
    def label(self) -> str:
        return f"{self.words}: ${self.usd_per_hour:.2f} an hour"


class PriceList:
    """The Hub's machines with their prices, at most ten minutes old.

    One asks for all who wait. That the Hub did not answer is remembered, too: else each would wait for that in turn.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_at = 0.0
        self._flavors: tuple[Flavor, ...] = ()
        self._failed_at = 0.0
        self._failure: HubError | None = None

    def flavors(self) -> tuple[Flavor, ...]:
        """All machines, cheapest first. Raises HubError."""
        with self._lock:
            if not self._flavors or time.monotonic() - self._read_at > _REMEMBER_S:
                self._flavors = self._ask()
                self._read_at = time.monotonic()
            return self._flavors

    def _ask(self) -> tuple[Flavor, ...]:
        failure = self._failure
        if failure is not None and time.monotonic() - self._failed_at < _REMEMBER_FAILURE_S:
            raise HubError(str(failure), failure.trouble, retry_after_s=failure.retry_after_s)
        try:
            with hub_errors(what="the price list"):
                offered = open_hub(None).list_jobs_hardware()
        except HubError as error:
            self._failed_at, self._failure = time.monotonic(), error
            raise
        flavors = [flavor for machine in offered if (flavor := _flavor(machine)) is not None]
        return tuple(sorted(flavors, key=lambda flavor: flavor.usd_per_hour))

    def flavor(self, name: str) -> Flavor:
        """Raises RequestError for a machine that is not offered, HubError where the Hub cannot be asked."""
        found = next((flavor for flavor in self.flavors() if flavor.name == name), None)
        if found is None:
            raise RequestError("Choose one of the machines that Hugging Face offers.")
        return found


def _flavor(machine: JobHardwareInfo) -> Flavor | None:
    """None where the price has a unit that is not known here."""
    an_hour = usd_per_hour(machine.unit_cost_usd, machine.unit_label)
    if an_hour is None:
        return None
    gpu = machine.accelerator
    memory = f", {gpu.vram}" if gpu is not None and gpu.vram else ""
    size = re.fullmatch(r"(\d+) ?GB", gpu.vram or "") if gpu is not None and gpu.quantity == "1" else None
    gpu_bytes = int(size[1]) * 10**9 if size else None
    return Flavor(machine.name, f"{machine.pretty_name}{memory}", an_hour, gpu is not None, gpu_bytes)
