"""Every picture that an owner made, newest first: files in one folder, their settings inside them."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from inference.metadata import PictureSettings, read_settings

MAX_KEPT = 400
KEPT_DAYS = 30
"""On a page that many share: whoever comes in a browser without its cookie never finds their pictures again."""


@dataclass(frozen=True)
class Picture:
    """One picture of the history."""

    file: Path
    settings: PictureSettings | None


class PictureHistory:
    """The history folders of a data root."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, owner: str) -> Path:
        return self._root / owner

    def owners(self) -> set[str]:
        """Everybody who has pictures."""
        return {folder.name for folder in self._root.glob("*")}

    def adopt(self, old: str, new: str) -> None:
        """Give an owner's pictures to another."""
        for file in self.folder(old).glob("*.png"):
            self.folder(new).mkdir(parents=True, exist_ok=True)
            file.replace(self.folder(new) / file.name)

    def newest(self, owner: str, count: int) -> list[Picture]:
        """The newest pictures; older ones beyond MAX_KEPT are removed."""
        return [Picture(file, read_settings(file)) for file in self.prune(owner)[:count]]

    def prune(self, owner: str) -> list[Path]:
        """Remove the oldest pictures beyond MAX_KEPT; returns the files of the others, the newest first."""
        files = sorted(self.folder(owner).glob("*.png"), key=lambda file: file.name, reverse=True)
        for old in files[MAX_KEPT:]:
            old.unlink(missing_ok=True)
        return files[:MAX_KEPT]

    def remove_old(self) -> None:
        """Remove everybody's pictures that were made more than KEPT_DAYS ago, and what a kill left of one."""
        oldest = time.time() - KEPT_DAYS * 24 * 3600
        for folder in self._root.glob("*"):
            for file in folder.iterdir():
                with contextlib.suppress(OSError):
                    if file.stat().st_mtime < oldest:
                        file.unlink()
            with contextlib.suppress(OSError):  # most are not empty
                if folder.stat().st_mtime < oldest:
                    folder.rmdir()

    def find(self, owner: str, name: str) -> Picture | None:
        """One picture by its file name."""
        file = self.folder(owner) / Path(name).name
        return Picture(file, read_settings(file)) if file.is_file() else None

    def delete(self, owner: str, name: str) -> None:
        (self.folder(owner) / Path(name).name).unlink(missing_ok=True)
