"""Under which name a supervisor takes jobs out of the queue: the same after every restart, or its own would be lost."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from jobs.record.store import new_job_id
from trainer.machine.locks import is_held
from trainer.whole_files import write_whole

HUGGING_FACE = "hugging-face"
"""In a device's place, for who trains there; and the name of that supervisor on every disk.

One page serves a database, so there is one of it. Were its name on its disk, a new data root at the same database would
begin with another, and what it had in progress would be nobody's.
"""
_SUFFIX = ".executor"


def lock_file(runtime: Path, key: str) -> Path:
    """Held by the supervisor of the device `key` while it lives."""
    return runtime / f"{key}.lock"


def executor_id(runtime: Path, key: str) -> str:
    """The name of the supervisor of the device `key`, or of whoever follows Jobs at Hugging Face."""
    if key == HUGGING_FACE:
        return key
    file = runtime / f"{key}{_SUFFIX}"
    if not file.exists():
        write_whole(file, f"{key}-{new_job_id()}")
    return file.read_text(encoding="utf-8")


def gone_executors(runtime: Path, served: Collection[str]) -> list[str]:
    """The names of supervisors that will not come back: of devices that are not among `served`, and not alive."""
    names = _names(runtime)
    return [names[key] for key in names if key not in served and not _may_live(runtime, key)]


def own_executors(runtime: Path) -> set[str]:
    """The names of all supervisors that this machine has or had."""
    return set(_names(runtime).values())


def live_executors(runtime: Path) -> set[str]:
    """The names of supervisors whose processes live on this machine."""
    return {name for key, name in _names(runtime).items() if _may_live(runtime, key)}


def _names(runtime: Path) -> dict[str, str]:
    """The name of each device's supervisor."""
    files = sorted(runtime.glob(f"*{_SUFFIX}"))
    return {file.stem: file.read_text(encoding="utf-8") for file in files}


def _may_live(runtime: Path, key: str) -> bool:
    try:
        return is_held(lock_file(runtime, key))
    except OSError:  # a file that cannot be asked tells nothing: then nobody's job is taken
        return True
