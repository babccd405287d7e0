"""The layers that a LoRA file adapts, read from names and shapes, in diffusers' or kohya's naming. Light: no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trainer.errors import WeightsError
from trainer.imports.weights_file import TensorShape

_ALPHA = ".alpha"
_MATRIX = re.compile(r"[._]lora(?:_linear_layer)?[._](?P<way>down|up|A|B)(?:\.default)?\.weight$")
_PARTS = {
    "lora_unet_": "unet",
    "unet.": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
}
# what diffusers' first naming, by attention processor, called a text encoder's layers
_OLD_NAMES = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}


@dataclass(frozen=True)
class LoraLayer:
    """One adapted layer: `name` is the file's, `stem` the part's (`unet`, `text_encoder`) with "_" for "."."""

    name: str
    part: str
    stem: str
    rank: int
    inputs: int
    outputs: int

    @property
    def by_kohya(self) -> bool:
        return self.name.startswith("lora_")


def is_lora(names: Mapping[str, TensorShape]) -> bool:
    """Whether a file holds low-rank matrices at all."""
    return any(_MATRIX.search(name) for name in names)


def read_layers(tensors: Mapping[str, TensorShape]) -> list[LoraLayer]:
    """All layers of a LoRA. Raises WeightsError with the first name that is not understood, or stands alone."""
    matrices: dict[str, dict[str, TensorShape]] = {}
    for name, tensor in tensors.items():
        if found := _MATRIX.search(name):
            way = "down" if found["way"] in ("down", "A") else "up"
            matrices.setdefault(name[: found.start()], {})[way] = tensor
    for name in tensors:
        known = name.removesuffix(_ALPHA) in matrices if name.endswith(_ALPHA) else bool(_MATRIX.search(name))
        if not known or not name.startswith(tuple(_PARTS)):
            raise WeightsError(f"It holds {name[:120]!r}, which is not understood here as part of a LoRA.")
    return [_layer(name, pair) for name, pair in sorted(matrices.items())]


def _layer(name: str, pair: Mapping[str, TensorShape]) -> LoraLayer:
    if len(pair) < 2:
        (way,) = pair
        raise WeightsError(f"Its layer {name[:120]} has only one of its two matrices, {way!r}.")
    down, up = pair["down"].shape, pair["up"].shape
    if len(down) not in (2, 4) or len(up) != len(down) or down[0] != up[1]:
        raise WeightsError(f"The matrices of its layer {name[:120]}, {list(down)} and {list(up)}, do not go together.")
    prefix = next(prefix for prefix in _PARTS if name.startswith(prefix))
    stem = name.removeprefix(prefix).replace(".processor.", ".").replace(".", "_").removeprefix("text_model_")
    if _PARTS[prefix] != "unet":
        for old, new in _OLD_NAMES.items():
            stem = f"{stem.removesuffix(old)}{new}" if stem.endswith(f"_{old}") else stem
    elif stem.endswith("_to_out"):
        stem += "_0"
    return LoraLayer(name, _PARTS[prefix], stem, rank=down[0], inputs=down[1], outputs=up[0])
