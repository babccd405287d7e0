"""Xet without its server: the client's own library reads and writes a folder when the storage address is local://.

Such a folder takes one process at a time, for as long as the process lives. So every upload gets a folder of its own,
what arrived is read from a copy of it, and every download gets a copy of a folder that holds what it may ask for.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hf_xet

_xet: Any = hf_xet  # a compiled module without type stubs

_HASH, _RECORD = 32, 48  # bytes; a shard is made of records of equal size, the first of them its header
_END_OF_FILES = b"\xff" * _HASH
_HAS_VERIFICATION, _HAS_SHA256 = 1 << 31, 1 << 30
NO_CONTENT = "0" * 64
"""The hash that Xet gives to an empty file."""


@dataclass(frozen=True)
class XetFile:
    """A file that a client uploaded through Xet."""

    xet_hash: str
    size: int
    sha256: str | None
    """None for bucket files, whose clients do not compute it."""
    folder: Path


class XetStore:
    """Storage folders under one root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made = 0
        self._readable: dict[frozenset[str], Path] = {}
        root.mkdir(parents=True)

    def new_upload_folder(self) -> Path:
        """A folder for one client's upload."""
        return self._new_folder("upload")

    def find_sha256(self, sha256: str) -> XetFile | None:
        """What was uploaded with this sha256."""
        return next((file for file in self._uploaded() if file.sha256 == sha256), None)

    def find_hash(self, xet_hash: str) -> XetFile | None:
        """What was uploaded with this Xet hash."""
        return next((file for file in self._uploaded() if file.xet_hash == xet_hash), None)

    def extract(self, file: XetFile, destination: Path) -> None:
        """Write the content of an uploaded file."""
        if file.size == 0:
            destination.touch()
            return
        with _xet.XetSession().new_file_download_group(endpoint=address(self._copy(file.folder))) as group:
            group.start_download_file(_xet.XetFileInfo(file.xet_hash, file.size), str(destination))

    def new_download_folder(self, contents: Mapping[str, Path]) -> Path:
        """A folder for one client, from which it can read these contents, given by Xet hash."""
        key = frozenset(contents)
        if key not in self._readable:
            self._readable[key] = self._new_folder("readable")
            _upload(contents.values(), self._readable[key])
        return self._copy(self._readable[key])

    def _uploaded(self) -> Iterator[XetFile]:
        for shard in self._root.glob("upload-*/xet/xorbs/shards/*.mdb"):
            yield from _files_of_shard(shard)

    def _new_folder(self, purpose: str) -> Path:
        self._made += 1
        return self._root / f"{purpose}-{self._made}"

    def _copy(self, folder: Path) -> Path:
        """A copy that no other process has opened. The big files never change, so links will do for them."""
        copy = self._new_folder("copy")

        def link_or_copy(source: str, target: str) -> None:
            if source.endswith(".redb"):
                shutil.copyfile(source, target)
            else:
                os.link(source, target)

        shutil.copytree(folder / "xet" / "xorbs", copy / "xet" / "xorbs", copy_function=link_or_copy)
        return copy


def address(folder: Path) -> str:
    """The storage address by which Xet clients take a folder for a server."""
    return f"local://{folder}"


def _upload(files: Iterable[Path], folder: Path) -> None:
    with _xet.XetSession().new_upload_commit(endpoint=address(folder)) as commit:
        for file in files:
            commit.start_upload_file(str(file), sha256=_xet.SKIP_SHA256)


def _files_of_shard(shard: Path) -> Iterator[XetFile]:
    """The files that a shard describes: each a head, its segments, perhaps their checksums, perhaps its sha256."""
    data = shard.read_bytes()
    position = _RECORD
    while (file_hash := data[position : position + _HASH]) != _END_OF_FILES:
        flags, segments = struct.unpack_from("<II", data, position + _HASH)
        position += _RECORD
        # a segment is the hash of the block that it lies in, flags, its size, and its first and last chunk
        size = sum(
            struct.unpack_from("<I", data, position + number * _RECORD + _HASH + 4)[0] for number in range(segments)
        )
        position += segments * _RECORD * (2 if flags & _HAS_VERIFICATION else 1)
        sha256 = None
        if flags & _HAS_SHA256:
            sha256 = _hash_text(data[position : position + _HASH])
            position += _RECORD
        yield XetFile(_hash_text(file_hash), size, sha256, shard.parents[3])


def _hash_text(raw: bytes) -> str:
    """Xet prints every hash, even a sha256, as four little-endian numbers."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))
