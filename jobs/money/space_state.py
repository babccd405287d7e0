"""What is known of this Space's hardware and what is being done about it: a file that the treasurer alone writes.

The page reads it, so that no visitor ever waits for the Hub; and a treasurer that was killed goes on from it.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from jobs.money.space import is_free
from trainer.whole_files import read_model, write_model


class ReleaseStage(StrEnum):
    """How far giving the hardware back has come."""

    none = "none"
    """Nobody has asked for it."""
    kept = "kept"
    """Asked for, but something is in the way."""
    settling = "settling"
    """Nothing is in the way; it is given back when that stays so."""
    asked = "asked"
    """The Hub is being asked within seconds, perhaps again."""
    refused = "refused"
    """The Hub did not do it, and is asked again later; until then everything goes on."""
    done = "done"
    """The Hub has confirmed it."""


class Release(BaseModel):
    """The stage, since when, and in words why."""

    model_config = ConfigDict(frozen=True)

    stage: ReleaseStage = ReleaseStage.none
    since: float = 0.0
    note: str = ""
    tries: int = 0
    next_try: float = 0.0


class SpaceState(BaseModel):
    """Times are in seconds, moments in seconds since the epoch, money in US dollars."""

    model_config = ConfigDict(frozen=True)

    flavor: str = ""
    """Empty until the Hub has answered."""
    machine: str = ""
    usd_per_hour: float | None = None
    public: bool | None = None
    """Whether anybody may open the page; None until the Hub has answered. Not asked where nothing costs."""
    sleep_s: int | None = None
    owners_sleep_s: int | None = None
    """The timer as the owner had set it, while ours is set."""
    sleep_is_ours: bool = False
    trouble: str = ""
    """Why the Hub did not do what was asked, in words."""
    release_wanted: bool = False
    """Somebody has asked for it on this hardware; that stands when their job is deleted."""
    release: Release = Release()

    @property
    def can_keep(self) -> bool:
        """Whether the hardware is about to go, and can still be kept."""
        return self.release.stage in (ReleaseStage.settling, ReleaseStage.refused)

    @property
    def costs(self) -> bool:
        """Whether money is spent while the Space runs; where the price is not known, it may be."""
        return self.flavor != "" and not is_free(self.flavor) and self.usd_per_hour != 0


def state_file(home: Path) -> Path:
    return home / "space.json"


def keep_wish_file(home: Path) -> Path:
    """Made by the page where somebody wants to keep the hardware after all; the treasurer takes it away."""
    return home / "keep-hardware"


def read_state(home: Path) -> SpaceState | None:
    """None before the first look, or where the file is damaged."""
    return read_model(state_file(home), SpaceState)


def write_state(home: Path, state: SpaceState) -> None:
    write_model(state_file(home), state)
