"""What a Space has beyond its repository: where it runs, until when, and with which secrets. Nothing is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tests.hub.clock import timestamp
from tests.hub.hardware import FOR_SPACES, FREE
from tests.hub.refusals import Refusal

_FREE_SLEEP_S: Final = 48 * 3600
_APP_FILES: Final = {"gradio": "app.py", "streamlit": "app.py", "docker": "Dockerfile", "static": "index.html"}
STATIC: Final = "static"


@dataclass(frozen=True)
class Setting:
    """A secret or a variable."""

    value: str
    description: str | None
    updated_at: str

    def describe(self, *, secret: bool) -> dict[str, Any]:
        shown = {"description": self.description, "updatedAt": self.updated_at}
        return shown if secret else {"value": self.value, **shown}


Settings = dict[str, Setting]


def settings_of(items: Iterable[Mapping[str, str]]) -> Settings:
    """Settings as they come with a new Space."""
    return {item["key"]: Setting(item["value"], item.get("description"), timestamp()) for item in items}


@dataclass
class Space:
    """The state of a Space."""

    sdk: str
    hardware: str = FREE
    requested: str = FREE
    sleep_s: int | None = _FREE_SLEEP_S
    paused: bool = False
    secrets: Settings = field(default_factory=dict)
    variables: Settings = field(default_factory=dict)
    stage_set_by_test: str | None = None

    @property
    def app_file(self) -> str:
        return _APP_FILES[self.sdk]

    def request_hardware(self, flavor: str, sleep_s: int | None) -> None:
        """Move to another machine. A paid one never sleeps unless told to; the free one sleeps after two days."""
        if flavor not in {machine.name for machine in FOR_SPACES}:
            raise Refusal(400, f"Unknown hardware: {flavor}")
        self.requested = flavor
        self.sleep_s = _FREE_SLEEP_S if flavor == FREE else None
        if sleep_s is not None:
            self.set_sleep(sleep_s)

    def set_sleep(self, seconds: int) -> None:
        """Idle seconds until it sleeps; negative for never. Ignored on the free machine, as the Hub does."""
        if self.requested != FREE:
            self.sleep_s = seconds if seconds >= 0 else None

    def runtime(self, files: Iterable[str]) -> dict[str, Any]:
        """What the Hub shows. A machine that was asked for is there when the question is put again."""
        shown = {
            "stage": self._stage(files),
            "hardware": {"current": self.hardware, "requested": self.requested},
            "gcTimeout": self.sleep_s,
            "storage": None,
            "replicas": {"current": 1, "requested": 1},
        }
        self.hardware = self.requested
        return shown

    def duplicate(self) -> Space:
        """A copy for somebody else: variables come along, secrets and paid hardware do not."""
        return Space(self.sdk, variables={key: replace(value) for key, value in self.variables.items()})

    def _stage(self, files: Iterable[str]) -> str:
        if self.stage_set_by_test:
            return self.stage_set_by_test
        if self.paused:
            return "PAUSED"
        return "RUNNING" if self.app_file in files else "NO_APP_FILE"
