"""What comes home out of a bucket that whoever pays can write to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from jobs.remote.bucket import EVENTS, LOG, PREVIEWS, RESULT
from jobs.remote.homecoming import Homecoming
from trainer.artifact import FileEntry
from trainer.run_folder import RunFolder

HUGE = 10**12


class Bucket:
    """Says what is fetched."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    def fetch(self, files: Iterable[Any], _run: RunFolder) -> None:
        self.fetched += [file.path for file in files]


def listed(**sizes: int) -> dict[str, Any]:
    return {name: SimpleNamespace(path=name, size=size, xet_hash="x") for name, size in sizes.items()}


def test_file_that_is_too_large_to_be_shown_stays_where_it_is(tmp_path: Path) -> None:
    counting: Any = (bucket := Bucket())
    home = Homecoming(counting, RunFolder(tmp_path))
    home.bring_shown(listed(**{EVENTS: HUGE, LOG: 5, f"{PREVIEWS}a.png": HUGE, f"{PREVIEWS}b.png": 5}))
    assert bucket.fetched == [f"{PREVIEWS}b.png", LOG]
    assert home.read_result(listed(**{RESULT: HUGE})) is None
    assert RESULT not in bucket.fetched


def test_previews_without_number_do_not_all_come_home(tmp_path: Path) -> None:
    counting: Any = (bucket := Bucket())
    home = Homecoming(counting, RunFolder(tmp_path))
    home.bring_shown(listed(**{f"{PREVIEWS}{number}.png": 5 for number in range(5000)}, **{EVENTS: 5}))
    assert len(bucket.fetched) < 2000
    assert bucket.fetched[-1] == EVENTS


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "unet/../../x", "a//b", ".lock", "unet/.x", "a\0b", ""])
def test_manifest_cannot_name_what_lies_outside_of_its_folder(path: str) -> None:
    with pytest.raises(ValidationError):
        FileEntry(path=path, bytes=1, sha256="")
    assert FileEntry(path="unet/model.safetensors", bytes=1, sha256="").path == "unet/model.safetensors"
