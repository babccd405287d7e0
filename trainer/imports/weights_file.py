"""What lies in a weights file that somebody else made, judged from its header: nothing is loaded, no name believed.

A safetensors file begins with the length of a JSON header that says where each tensor lies. All of it is checked here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from trainer.errors import WeightsError

MAX_HEADER_BYTES = 16 * 2**20
"""That of a full Stable Diffusion XL checkpoint has 0.4 MB."""
MAX_TENSORS = 20_000
MAX_NAME = 300
MAX_METADATA_BYTES = 8 * 2**20
FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_OTHER_BYTES = {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}
_ITEM_BYTES = {**FLOAT_BYTES, **_OTHER_BYTES}
_ZIP, _HTML = b"PK\x03\x04", b"<"


@dataclass(frozen=True)
class TensorShape:
    """One tensor of a file, as its header describes it."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """A safetensors file's own description: its tensors by name, and what its maker wrote beside them."""

    tensors: dict[str, TensorShape]
    metadata: dict[str, str]


def is_torch_zip(path: Path) -> bool:
    """Whether the content is a ZIP, as PyTorch writes its files, whatever the file is called."""
    with path.open("rb") as file:
        return file.read(4) == _ZIP


def read_header(path: Path) -> Header:
    """The header of a safetensors file. Raises WeightsError for anything else, and for one that does not add up."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length < 2 or file.read(1) != b"{":
            raise WeightsError(_what_it_is(start))
        if length > MAX_HEADER_BYTES:
            raise WeightsError(f"Its header claims {length:,} bytes; no model has one of more than 16 MB.")
        if 8 + length > size:
            raise WeightsError("It ends in the middle of its header. Download it again.")
        text = b"{" + file.read(length - 1)
    return parse_header(text, data_bytes=size - 8 - length)


def _what_it_is(start: bytes) -> str:
    if start[:1] == b"\x80":
        return "It is a bare pickle, which may run code when it is opened. It was not opened; safetensors is accepted."
    if start[:1] == _HTML:
        return "It is a web page, not a weights file. Download the file itself."
    return "It is not a safetensors file, whatever its name says."


def parse_header(text: bytes, *, data_bytes: int) -> Header:
    """A header's JSON, for a file with this many bytes of tensors behind it. Raises WeightsError."""
    try:
        entries = json.loads(text, object_pairs_hook=_without_duplicates)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise WeightsError("Its header is damaged: it is not JSON.") from None
    if not isinstance(entries, dict):
        raise WeightsError("Its header is damaged: it lists no tensors.")
    listed = cast("dict[str, Any]", entries)
    metadata = _metadata(listed.pop("__metadata__", {}))
    if not 0 < len(listed) <= MAX_TENSORS:
        raise WeightsError(f"It holds {len(listed):,} tensors; between 1 and {MAX_TENSORS:,} are expected.")
    spans: list[tuple[int, int]] = []
    tensors: dict[str, TensorShape] = {}
    for name, entry in listed.items():
        tensors[_checked_name(name)], span = _tensor(name, entry)
        spans.append(span)
    _check_spans(spans, data_bytes)
    return Header(tensors, metadata)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise WeightsError("Its header names something twice, which two programs may read differently.")
    return found


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise WeightsError("Its header is damaged: its metadata is not a list of texts.")
    texts = cast("dict[str, object]", value)
    if not all(isinstance(text, str) for text in texts.values()):
        raise WeightsError("Its header is damaged: its metadata is not a list of texts.")
    if sum(len(key) + len(str(text)) for key, text in texts.items()) > MAX_METADATA_BYTES:
        raise WeightsError("Its metadata is absurdly large.")
    return {key: str(text) for key, text in texts.items()}


def _checked_name(name: str) -> str:
    is_path = "/" in name or "\\" in name or ".." in name
    if not name or len(name) > MAX_NAME or not name.isprintable() or is_path:
        raise WeightsError(f"It holds a tensor of the impossible name {name[:40]!r}.")
    return name


def _tensor(name: str, entry: object) -> tuple[TensorShape, tuple[int, int]]:
    try:
        described = cast("dict[str, Any]", entry)
        dtype, shape, (begin, end) = described["dtype"], described["shape"], described["data_offsets"]
        counts = [*shape, begin, end]
        sound = isinstance(shape, list) and all(type(count) is int and 0 <= count < 2**48 for count in counts)
    except (KeyError, TypeError, ValueError):
        sound, dtype, shape, begin, end = False, "", [], 0, 0
    if not sound:
        raise WeightsError(f"Its header is damaged at {name!r}.")
    if dtype not in _ITEM_BYTES:
        raise WeightsError(f"The tensor {name!r} is of the unknown type {str(dtype)[:20]!r}.")
    if math.prod(cast("list[int]", shape)) * _ITEM_BYTES[dtype] != end - begin:
        raise WeightsError(f"Its header does not add up: {name!r} has another size than its shape says.")
    return TensorShape(str(dtype), tuple(cast("list[int]", shape))), (begin, end)


def _check_spans(spans: list[tuple[int, int]], data_bytes: int) -> None:
    """The tensors must cover the data exactly: no gap to hide things in, no overlap, no end beyond the file."""
    reached = 0
    for begin, end in sorted(spans):
        if begin != reached:
            raise WeightsError("Its header does not add up: tensors overlap or leave a gap.")
        reached = end
    if reached > data_bytes:
        raise WeightsError("It ends before its last tensor does. Download it again.")
    if reached < data_bytes:
        raise WeightsError("There is something behind its last tensor.")


def check_numbers(header: Header, fits: Callable[[str], bool] = lambda _name: True) -> None:
    """Raise WeightsError where a tensor that counts is not made of plain floating-point numbers."""
    for name, tensor in header.tensors.items():
        if fits(name) and tensor.dtype not in FLOAT_BYTES:
            raise WeightsError(f"The tensor {name!r} holds {tensor.dtype}; only F16, BF16, F32 and F64 are accepted.")
