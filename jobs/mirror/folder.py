"""The mirror: a folder that outlives this machine's disk, with a copy of each job as whole files.

    MIRROR/concept-studio/mirror.json                      which mirror this is
    MIRROR/concept-studio/runs/JOB/whole-000012-HASH.json  the list of the job's files, with sizes and hashes
    MIRROR/concept-studio/runs/JOB/photos/0001.jpg         a file of the job
    MIRROR/concept-studio/runs/JOB/events.jsonl~12         a file that changed, as of list 12

A mounted bucket may know neither locks nor an atomic rename, uploads a file when it is closed, and may show an older
one for a while. So nothing is locked, renamed or overwritten there: a file gets a name that no list has named before,
the list comes last, and what it does not name is removed only when it can be read back.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from jobs.mirror.copy_list import (
    CopiedFile,
    CopyList,
    files_below,
    is_list,
    open_plain,
    plain_folder,
    read_newest_list,
    written_list,
)
from trainer.errors import MirrorError

_CHUNK = 4 * 2**20
_ROOT = "concept-studio"
_ABOUT = "Copies of Concept Studio's jobs, for it to restore when its own disk was lost. Change nothing here."


_WORDS = {
    errno.ENOSPC: "The mirror is full.",
    errno.EDQUOT: "The mirror is full.",
    errno.EROFS: "The mirror is read-only.",
    errno.EACCES: "The mirror cannot be written.",
}


def trouble_words(error: OSError | MirrorError) -> str:
    """What is wrong with the mirror, in a sentence."""
    if isinstance(error, OSError):
        return _WORDS.get(error.errno or 0, f"The mirror cannot be used: {error.strerror or error}.")
    return str(error)


@dataclass(frozen=True)
class _Source:
    """A file of a run; `opened` where it was opened before it could be pruned or written further."""

    path: str
    file: Path
    opened: BinaryIO | None = None


class _MovedError(Exception):
    """A file of the run went away while it was copied."""


class Mirror:
    """The copies in one mirror. Raises OSError wherever the mirror fails, MirrorError where it is not there.

    `beat` is called again and again while something is copied.
    """

    def __init__(self, place: Path, *, mirror_id: str = "", beat: Callable[[], None] = lambda: None) -> None:
        self._place = place
        self.is_new = False
        """Nothing was ever kept there before."""
        self.mirror_id, self._beat = mirror_id, beat
        self._lists: dict[str, CopyList] = {}

    def check(self) -> None:
        """Raise MirrorError where the mirror is not there, or is another one than before; make a new one ready."""
        if not self._place.is_dir():
            raise MirrorError(f"The mirror {self._place} is not there.")
        marker = plain_folder(self._place, _ROOT) / "mirror.json"
        found = _read_marker(marker)
        if not found and not self.mirror_id:
            self.is_new = True
            plain_folder(self._place, f"{_ROOT}/runs", make=True)
            found = secrets.token_hex(8)
            _write_bytes(marker, json.dumps({"id": found, "about": _ABOUT}, indent=2).encode())
        if self.mirror_id and found != self.mirror_id:
            # an unmounted mirror leaves an empty folder behind, on the very disk that is not kept
            raise MirrorError(f"The mirror that was mounted at {self._place} is not there.")
        self.mirror_id = found

    def job_ids(self) -> list[str]:
        """Jobs that have a folder in the mirror."""
        runs = plain_folder(self._place, f"{_ROOT}/runs")
        folders = [entry for entry in runs.iterdir() if entry.is_dir() and not entry.is_symlink()]
        return sorted(folder.name for folder in folders if not folder.name.startswith("."))

    def newest(self, job_id: str) -> CopyList | None:
        """What the mirror holds of a job, whole; None where that is nothing."""
        return read_newest_list(self.folder(job_id))

    def folder(self, job_id: str) -> Path:
        return plain_folder(self._place, f"{_ROOT}/runs/{job_id}")

    def copy(self, run: Path) -> bool:
        """Bring the copy of a run up to date; True where there was something to copy."""
        folder = plain_folder(self._place, f"{_ROOT}/runs/{run.name}", make=True)
        known_here = run.name in self._lists
        before = self._lists.get(run.name) or _as_found(folder)
        after = CopyList(number=before.number + 1, files=tuple(self._copy_files(run, folder, before)))
        if not (run / "job.json").exists():
            return False  # deleted meanwhile
        changed = after.files != before.files
        if changed:
            self._commit(folder, after)
        else:
            after = before
        self._lists[run.name] = after
        if changed or not known_here:
            self._sweep(folder, after)
        return changed

    def _copy_files(self, run: Path, folder: Path, before: CopyList) -> list[CopiedFile]:
        known = {file.path: file for file in before.files}
        files: list[CopiedFile] = []
        with contextlib.ExitStack() as held:
            for part, sources in _parts(run, held):
                try:
                    files += [self._copy_file(s, folder, known.get(s.path), before.number + 1) for s in sources]
                except _MovedError:  # what the mirror has of it stays until there is something newer
                    files += [file for file in before.files if file.path.partition("/")[0] == part]
        return sorted(files, key=lambda file: file.path)

    def forget(self, job_id: str) -> None:
        """Remove the copy of a job: first what makes it whole, then the rest."""
        self._lists.pop(job_id, None)
        folder = self.folder(job_id)
        if not folder.is_dir():
            return
        for file in _lists_in(folder):
            file.unlink()
        shutil.rmtree(folder)

    def remove_beginnings(self, local: Iterable[str]) -> None:
        """Remove what a copy that was never completed, or a removal, left behind of jobs that are not here."""
        for job_id in set(self.job_ids()) - set(local):
            if not _lists_in(self.folder(job_id)):
                shutil.rmtree(self.folder(job_id))

    def _copy_file(self, source: _Source, folder: Path, before: CopiedFile | None, number: int) -> CopiedFile:
        """Copy a file unless the mirror has it as it is; the length counts that it had when it was opened."""
        with source.opened or _open_source(source.file) as stream:
            facts = os.fstat(stream.fileno())
            if before is not None and (before.bytes, before.mtime_ns) == (facts.st_size, facts.st_mtime_ns):
                return before
            stored = source.path if before is None else f"{source.path}~{number}"
            plain_folder(folder, str(Path(stored).parent), make=True)
            sha256 = self._write(stream, facts.st_size, folder / stored)
        return CopiedFile(
            path=source.path, stored=stored, bytes=facts.st_size, mtime_ns=facts.st_mtime_ns, sha256=sha256
        )

    def _write(self, stream: BinaryIO, size: int, target: Path) -> str:
        """Write the next `size` bytes of a stream to a new file; returns their hash."""
        digest, left = hashlib.sha256(), size
        try:
            with os.fdopen(open_plain(target, write=True), "wb") as out:
                while left:
                    chunk = stream.read(min(left, _CHUNK))
                    if not chunk:
                        raise _MovedError  # it was cut while it was read
                    digest.update(chunk)
                    out.write(chunk)
                    left -= len(chunk)
                    self._beat()
                out.flush()
                os.fsync(out.fileno())
        except (OSError, _MovedError):
            with contextlib.suppress(OSError):
                target.unlink()
            raise
        return digest.hexdigest()

    def _commit(self, folder: Path, copy: CopyList) -> None:
        """Write the list, and see that it can be read."""
        name, content = written_list(copy)
        _write_bytes(folder / name, content)
        if read_newest_list(folder) != copy:
            raise OSError(f"{folder / name} cannot be read back")

    def _sweep(self, folder: Path, copy: CopyList) -> None:
        """Remove what the newest list does not name: older lists first."""
        kept = {file.stored for file in copy.files} | {written_list(copy)[0]}
        extra = [(name, file) for name, file in files_below(folder) if name not in kept]
        for _, file in sorted(extra, key=lambda entry: not is_list(entry[0])):
            file.unlink(missing_ok=True)
        for parent, _, _ in list(os.walk(folder, topdown=False))[:-1]:
            with contextlib.suppress(OSError):  # not empty
                Path(parent).rmdir()


def _as_found(folder: Path) -> CopyList:
    """The newest list; what it names but is not there in full counts as changed, so that it is copied again."""
    there = {name: file.lstat().st_size for name, file in files_below(folder)}
    newest = read_newest_list(folder) or CopyList()
    files = (f if there.get(f.stored) == f.bytes else f.model_copy(update={"mtime_ns": -1}) for f in newest.files)
    return newest.model_copy(update={"files": tuple(files)})


def _parts(run: Path, held: contextlib.ExitStack) -> list[tuple[str, list[_Source]]]:
    """The entries of a run folder with their files, single files first; hidden ones are locks and half-written.

    Checkpoints are opened at once, all together: what is open can be read to its end when a newer checkpoint replaces
    it, however long copying takes.
    """
    entries = [entry for entry in run.iterdir() if not entry.name.startswith(".") and not entry.is_symlink()]
    parts: list[tuple[str, list[_Source]]] = []
    for entry in sorted(entries, key=lambda entry: (entry.is_dir(), entry.name)):
        if not entry.is_dir():
            parts.append((entry.name, [_Source(entry.name, entry)]))
            continue
        files = [(f"{entry.name}/{name}", file) for name, file in files_below(entry) if not _is_passing(name, file)]
        hold = entry.name == "checkpoints"
        parts.append((entry.name, [_Source(path, file, _held(file, held) if hold else None) for path, file in files]))
    return parts


def _is_passing(name: str, file: Path) -> bool:
    return any(part.startswith(".") for part in name.split("/")) or file.is_symlink()


def _held(file: Path, held: contextlib.ExitStack) -> BinaryIO | None:
    """The file, open for as long as the stack is; None where it is gone already, which the copying then meets."""
    try:
        return held.enter_context(_open_source(file))
    except _MovedError:
        return None


def _open_source(file: Path) -> BinaryIO:
    try:
        return os.fdopen(open_plain(file), "rb")
    except FileNotFoundError:
        raise _MovedError from None


def _lists_in(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if is_list(entry.name)]


def _write_bytes(file: Path, content: bytes) -> None:
    with os.fdopen(open_plain(file, write=True), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _read_marker(file: Path) -> str:
    """The id in a marker; empty where there is none, or half of one."""
    try:
        with os.fdopen(open_plain(file), "rb") as stream:
            return str(json.loads(stream.read(4096))["id"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ""
