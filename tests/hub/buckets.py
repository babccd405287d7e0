"""Buckets: files without history, known by their Xet hash."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.hub.clock import timestamp


@dataclass(frozen=True)
class BucketFile:
    """A file in a bucket."""

    path: str
    size: int
    sha256: str
    xet_hash: str
    mtime: str
    uploaded_at: str = field(default_factory=timestamp)

    def describe(self) -> dict[str, Any]:
        return {
            "type": "file",
            "path": self.path,
            "size": self.size,
            "xetHash": self.xet_hash,
            "mtime": self.mtime,
            "uploadedAt": self.uploaded_at,
        }


@dataclass
class Bucket:
    """A bucket."""

    id: str
    private: bool
    creator: str
    app: str | None
    """The app that the creator signed in to."""
    created_at: str = field(default_factory=timestamp)
    files: dict[str, BucketFile] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "private": self.private,
            "createdAt": self.created_at,
            "size": sum(file.size for file in self.files.values()),
            "totalFiles": len(self.files),
        }
