"""What outlives this machine's disk: how the mirror is doing, and which jobs it has to forget.

Small files on the local disk between the page, which once it is up never touches the mirror (a mount that hangs would
hang it), and the process that copies.
"""

from __future__ import annotations

import time

from pydantic import BaseModel, ConfigDict

from trainer.settings import Settings
from trainer.whole_files import read_model, write_model

GOING = ".going-"
"""Begins the name of a run folder that is being deleted, until everything of its job is gone or known to go."""
_SILENT_S = 120.0


class MirrorStatus(BaseModel):
    """How the mirror is doing. Times are seconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    checked: float = 0.0
    """When whoever copies was last heard of."""
    mirror_id: str = ""
    """The mirror that this run of the app began with; empty before there was one."""
    last_copy: float | None = None
    whole_at: float | None = None
    """What was here then is in the mirror: whoever copies went through all jobs from then on, and left none behind."""
    behind: int = 0
    """Jobs whose newest state is not copied yet."""
    restoring: bool = False
    restored: int = 0
    """Jobs that the start brought back from the mirror."""
    note: str = ""
    """What the start found in the mirror and left there."""
    trouble: str = ""

    @property
    def silent(self) -> bool:
        """Whoever copies does not answer: the mirror hangs."""
        return time.time() - self.checked > _SILENT_S


class Keeping:
    """The state of one data root."""

    def __init__(self, settings: Settings) -> None:
        self.mirror = settings.mirror_dir
        self.disk_is_kept = not settings.on_space
        self._status_file = settings.home / "mirror" / "status.json"
        self._deleted = settings.home / "mirror" / "deleted"

    def status(self) -> MirrorStatus:
        return read_model(self._status_file, MirrorStatus) or MirrorStatus()

    def kept_until(self) -> float:
        """What was here before this moment is in the mirror, and stays there as far as is known; 0 for nothing."""
        if self.mirror is None:
            return 0.0
        status = self.status()
        is_well = not (status.trouble or status.silent or status.restoring or status.behind or self.forgotten())
        return (status.whole_at or 0.0) if is_well else 0.0

    def report(self, status: MirrorStatus) -> None:
        write_model(self._status_file, status)

    def forget(self, job_id: str) -> None:
        """The job is being deleted: its copy goes too, even if the app is ended in between.

        Also where there is no mirror now: one may hold a copy from before, and be back at a later start.
        """
        self._deleted.mkdir(parents=True, exist_ok=True)
        (self._deleted / job_id).touch()

    def forgotten(self) -> list[str]:
        """Jobs whose copies have to go."""
        return sorted(file.name for file in self._deleted.iterdir()) if self._deleted.is_dir() else []

    def is_forgotten(self, job_id: str) -> bool:
        return (self._deleted / job_id).exists()

    def has_forgotten(self, job_id: str) -> None:
        """The copy is gone."""
        (self._deleted / job_id).unlink(missing_ok=True)
