"""Contents of files, each under its sha256."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterable
from pathlib import Path

from tests.hub.refusals import Refusal


def git_blob_id(data: bytes) -> str:
    """The id that git gives to a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class BlobStore:
    """A folder of contents. Nothing enters under a name that is not its hash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True)

    def path(self, sha256: str) -> Path:
        """Where the content is, or would be."""
        return self._folder / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).exists()

    def size(self, sha256: str) -> int:
        return self.path(sha256).stat().st_size

    def scratch(self) -> Path:
        """A new name for something unfinished."""
        return self._folder / f".{uuid.uuid4().hex}"

    def add_bytes(self, data: bytes) -> str:
        """Keep a small content; returns its sha256."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.path(sha256).write_bytes(data)
        return sha256

    def add_file(self, finished: Path) -> str:
        """Take over a file; returns its sha256."""
        with finished.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        finished.replace(self.path(sha256))
        return sha256

    async def receive(self, chunks: AsyncIterable[bytes], sha256: str) -> None:
        """Keep what comes in, if it is what it claims to be."""
        unfinished = self.scratch()
        try:
            await _write(chunks, unfinished)
            self._accept(unfinished, sha256)
        finally:
            unfinished.unlink(missing_ok=True)

    async def receive_part(self, chunks: AsyncIterable[bytes], sha256: str, number: int) -> str:
        """Keep one part of a content; returns the part's ETag."""
        part = self._part(sha256, number)
        await _write(chunks, part)
        return hashlib.md5(part.read_bytes(), usedforsecurity=False).hexdigest()

    def join_parts(self, sha256: str, numbers: list[int]) -> None:
        """Make one content of parts that have all arrived."""
        parts = [self._part(sha256, number) for number in numbers]
        if missing := [part.name for part in parts if not part.exists()]:
            raise Refusal(400, f"Parts have not been uploaded: {missing}")
        unfinished = self.scratch()
        with unfinished.open("wb") as whole:
            for part in parts:
                whole.write(part.read_bytes())
        self._accept(unfinished, sha256)
        for part in parts:
            part.unlink()

    def _accept(self, unfinished: Path, sha256: str) -> None:
        with unfinished.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != sha256:
            raise Refusal(400, "The content does not have the sha256 that was announced")
        unfinished.replace(self.path(sha256))

    def _part(self, sha256: str, number: int) -> Path:
        return self._folder / f"{sha256}.part{number}"


async def _write(chunks: AsyncIterable[bytes], path: Path) -> None:
    with path.open("wb") as file:
        async for chunk in chunks:
            file.write(chunk)
