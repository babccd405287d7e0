"""Equal content in equal bytes: a result's hash is that of every run that learnt the same."""

from __future__ import annotations

import json
from pathlib import Path


def settle_metadata(file: Path) -> None:
    """Put a safetensors file's metadata in the order of its names; its library writes them in a random one.

    In place: in another order the header is as long as it was.
    """
    with file.open("r+b") as stream:
        length = int.from_bytes(stream.read(8), "little")
        entries = json.loads(stream.read(length))
        if said := entries.get("__metadata__"):
            entries["__metadata__"] = dict(sorted(said.items()))
            header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
            stream.seek(8)
            stream.write(header.ljust(length))
