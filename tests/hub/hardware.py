"""What the Hub's machines cost. The prices are made up for tests; only their shape is the real one's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

FREE: Final = "cpu-basic"


@dataclass(frozen=True)
class Machine:
    """A kind of machine to rent."""

    name: str
    pretty_name: str
    cpu: str
    ram: str
    usd_per_hour: float
    gpu: str | None = None
    vram: str = ""

    def describe(self) -> dict[str, Any]:
        """The entry in a price list."""
        usd_per_minute = self.usd_per_hour / 60
        accelerator = None
        if self.gpu:
            accelerator = {
                "type": "gpu",
                "model": self.gpu,
                "quantity": "1",
                "vram": self.vram,
                "manufacturer": "Nvidia",
            }
        return {
            "name": self.name,
            "prettyName": self.pretty_name,
            "cpu": self.cpu,
            "ram": self.ram,
            "ephemeralStorage": "50 GB",
            "accelerator": accelerator,
            "unitCostMicroUSD": round(usd_per_minute * 1e6),
            "unitCostUSD": usd_per_minute,
            "unitLabel": "minute",
        }


_GPUS: Final = (
    Machine("t4-small", "Nvidia T4 - small", "4 vCPU", "15 GB", 0.4, "T4", "16 GB"),
    Machine("t4-medium", "Nvidia T4 - medium", "8 vCPU", "30 GB", 0.6, "T4", "16 GB"),
    Machine("l4x1", "1x Nvidia L4", "8 vCPU", "30 GB", 0.8, "L4", "24 GB"),
    Machine("a10g-small", "Nvidia A10G - small", "4 vCPU", "15 GB", 1.0, "A10G", "24 GB"),
    Machine("a100-large", "Nvidia A100 - large", "12 vCPU", "142 GB", 2.5, "A100", "80 GB"),
)
FOR_SPACES: Final = (
    Machine(FREE, "CPU Basic", "2 vCPU", "16 GB", 0.0),
    Machine("cpu-upgrade", "CPU Upgrade", "8 vCPU", "32 GB", 0.03),
    *_GPUS,
)
FOR_JOBS: Final = (
    Machine(FREE, "CPU Basic", "2 vCPU", "16 GB", 0.01),
    Machine("cpu-upgrade", "CPU Upgrade", "8 vCPU", "32 GB", 0.03),
    *_GPUS,
    Machine("h200", "Nvidia H200", "23 vCPU", "256 GB", 5.0, "H200", "141 GB"),
)
