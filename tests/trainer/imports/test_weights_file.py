"""Hostile and broken weights files: refused at once, in words, whatever they are called."""

from __future__ import annotations

import json
import pickle
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import WeightsError
from trainer.imports.recognise import Form, recognise, recognise_file
from trainer.imports.torch_zip import called_by
from trainer.imports.weights_file import Header, TensorShape, read_header

GOOD = {"emb_params": {"dtype": "F32", "shape": [2, 32], "data_offsets": [0, 256]}}


def safetensors(header: Any, data: bytes = bytes(256), *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


class Evil:
    """Runs a command when it is unpickled by somebody who trusts it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('the pickle ran')",)


def torch_zip(program: bytes, *, compression: int = zipfile.ZIP_STORED, more: bytes = b"") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("archive/data.pkl", program)
            archive.writestr("archive/version", b"3\n")
            if more:
                archive.writestr("archive/data/0", more)

    return write


def entry(**changes: Any) -> dict[str, Any]:
    return {"emb_params": {**GOOD["emb_params"], **changes}}


MEMOIZED = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x8c\x0bcollections\x8c\x0bOrderedDict00h\x00h\x01\x93."
FILES: dict[str, tuple[bytes | Callable[[Path], None], str]] = {
    "nothing": (b"", "not a safetensors file"),
    "text": (b"hello, this is no model at all", "not a safetensors file"),
    "web page": (b"<!doctype html><html>Please sign in</html>", "web page"),
    "bare pickle": (pickle.dumps(Evil()), "may run code"),
    "bare pickle of old": (pickle.dumps({"a": 1}, protocol=2), "may run code"),
    "pickle with code in a ZIP": (torch_zip(pickle.dumps({"x": Evil()}, protocol=2)), r"would run \S*exec"),
    "pickle that hides its names": (torch_zip(MEMOIZED), "only names while it runs"),
    "pickle cut off": (torch_zip(b"\x80\x02ccollections\nOrd"), "damaged"),
    "ZIP of nothing": (torch_zip(b""), "damaged|tensors"),
    "ZIP bomb": (torch_zip(b"\x80\x02}.", compression=zipfile.ZIP_DEFLATED, more=bytes(200_000_000)), "compressed"),
    "ZIP that is none": (b"PK\x03\x04" + bytes(100), "damaged"),
    "other ZIP": (lambda p: zipfile.ZipFile(p, "w").writestr("readme.txt", "hello"), "not one that PyTorch wrote"),
    "absurd header": (safetensors(GOOD, length=2**60), "claims"),
    "header longer than the file": (safetensors(GOOD, b"", length=5000), "ends in the middle"),
    "header that is no JSON": (safetensors(b'{"a": [1, 2'), "not JSON"),
    "header nested without end": (safetensors(b'{"a":' * 20_000), "not JSON"),
    "duplicate keys": (safetensors(b'{"a": {"dtype": "F32"}, "a": {"dtype": "F16"}}'), "twice"),
    "no tensors": (safetensors({"__metadata__": {}}, b""), "0 tensors"),
    "metadata of numbers": (safetensors({"__metadata__": {"a": 1}, **GOOD}), "metadata"),
    "integers": (safetensors(entry(dtype="I32")), "holds I32"),
    "unknown type": (safetensors(entry(dtype="PICKLE")), "unknown type"),
    "size that does not add up": (safetensors(entry(shape=[2, 33])), "does not add up"),
    "negative size": (safetensors(entry(shape=[-2, -32])), "damaged at"),
    "huge size": (safetensors(entry(shape=[2**40, 2**40])), "does not add up"),
    "shape of texts": (safetensors(entry(shape=["2", "32"])), "damaged at"),
    "gap": (safetensors(entry(data_offsets=[8, 264]), bytes(264)), "gap"),
    "more behind": (safetensors(GOOD, bytes(300)), "behind its last tensor"),
    "cut off": (safetensors(GOOD, bytes(200)), "ends before"),
    "name like a path": (safetensors({"../../etc/passwd": GOOD["emb_params"]}), "impossible name"),
    "name with a line": (safetensors({"a\nb": GOOD["emb_params"]}), "impossible name"),
    "three dimensions": (safetensors(entry(shape=[2, 4, 8])), "shape"),
    "too many vectors": (safetensors(entry(shape=[128, 1], data_offsets=[0, 512]), bytes(512)), "places"),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_file_is_refused_at_once_under_any_name(name: str, tmp_path: Path) -> None:
    content, words = FILES[name]
    file = tmp_path / "concept"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        content(file)
    for suffix in (".safetensors", ".pt", ".bin", ".ckpt"):
        file = file.rename(file.with_suffix(suffix))
        began = time.process_time()
        with pytest.raises(WeightsError, match=words):
            recognise_file(file)
        assert time.process_time() - began < 1


def test_good_header_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(safetensors({"__metadata__": {"a": "b"}, **GOOD}))
    assert read_header(file) == Header({"emb_params": TensorShape("F32", (2, 32))}, {"a": "b"})
    assert recognise_file(file).width == 32


def test_what_a_pickle_would_call_is_listed() -> None:
    assert called_by(pickle.dumps(Evil(), protocol=2)) & {"builtins.exec", "__builtin__.exec"}
    assert called_by(pickle.dumps({"a": [1, 2.5]}, protocol=2)) == set()


def header(*names: str, shape: tuple[int, ...] = (4, 768), **metadata: str) -> Header:
    return Header({name: TensorShape("F16", shape) for name in names}, metadata)


TO_K = "down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (header("clip_l", "clip_g", "t5"), "cannot be told"),
        (
            Header({"clip_l": TensorShape("F16", (4, 768)), "clip_g": TensorShape("F16", (3, 1280))}, {}),
            "4 vectors for",
        ),
        (header("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight"), "Flux"),
        (header("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight"), "Flux"),
        (header("lora_unet_x.hada_w1_a", "lora_unet_x.hada_w1_b"), "LoHa"),
        (header("lora_unet_x.lora_down.weight", "lora_unet_x.dora_scale"), "DoRA"),
        (header("somebody.lora_down.weight"), "not understood here"),
        (header("encoder.conv_in.weight", "decoder.conv_in.weight"), "one part of a model"),
        (header("model.diffusion_model.double_blocks.0.x.weight", "b"), "Flux"),
        (
            header("model.diffusion_model.a.weight", "conditioner.embedders.0.x"),
            "none of Stable Diffusion 1.x, 2.x or XL",
        ),
        (header("a", "b"), "cannot be told"),
    ],
)
def test_what_is_not_built_yet_is_named(found: Header, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        recognise(found)


def test_lora_says_its_width() -> None:
    """By a layer that shows it, or else by what its trainer wrote."""
    down, up = TensorShape("F16", (4, 1024)), TensorShape("F16", (320, 4))
    theirs = recognise(Header({f"lora_unet_{TO_K}.lora_down.weight": down, f"lora_unet_{TO_K}.lora_up.weight": up}, {}))
    assert (theirs.form, theirs.width) == (Form.lora, 1024)
    names = {"lora_te_text_model_x.lora_down.weight": down, "lora_te_text_model_x.lora_up.weight": up}
    assert recognise(Header(names, {})).width is None
    assert recognise(Header(names, {"ss_base_model_version": "sd_v2"})).width == 1024
