"""What an imported file becomes: vectors, adapters or a whole model, ready to be written as an artifact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from trainer.artifact import portable_file
from trainer.concept import ConceptWords
from trainer.engine.export.adapters import ADAPTER, adapted_layers, adapters_are_in, write_adapters
from trainer.engine.export.embeddings import XL_NAMES, embedding_is_in, write_embedding
from trainer.engine.export.pipeline_folder import parts_are_in, parts_of, read_part, write_pipeline_folder
from trainer.engine.export.single_file import original_unet_name, write_single_file
from trainer.engine.export.verify import open_base
from trainer.engine.families import StockPipeline
from trainer.errors import WeightsError
from trainer.imports.lora_layers import LoraLayer
from trainer.imports.recognise import Recognised

_UP, _ALPHA = ".lora_up.weight", ".alpha"


class Embedding:
    """Vectors of a textual inversion."""

    def __init__(self, words: ConceptWords, file: Path, recognised: Recognised) -> None:
        tensors = load_file(file)
        names = XL_NAMES if recognised.is_xl else {"text_encoder": recognised.tensor}
        rows = {part: tensors[name].float() for part, name in names.items()}
        self._words, self._rows = words, {part: row.reshape(-1, row.shape[-1]) for part, row in rows.items()}
        if not all(torch.isfinite(row).all() for row in self._rows.values()):
            raise WeightsError("Its vectors are not numbers.")

    def write(self, folder: Path) -> None:
        write_embedding(folder, self._words, self._rows)

    def is_loaded_in(self, pipeline: StockPipeline) -> bool:
        return embedding_is_in(pipeline, self._words, self._rows)


class Adapters:
    """Adapters in the modules of the model in `base`: read from a file by diffusers' own loader, or put there by us."""

    def __init__(self, name: str, adapted: dict[str, Any], base: Path) -> None:
        self._name, self._adapted, self._base = name, adapted, base

    def write(self, folder: Path) -> None:
        write_adapters(folder, self._name, self._adapted, self._base)

    def is_loaded_in(self, pipeline: StockPipeline) -> bool:
        return adapters_are_in(pipeline, self._adapted)


def read_adapters(name: str, file: Path, recognised: Recognised, base: Path) -> Adapters:
    """Load a LoRA of any naming onto its base. Raises WeightsError where a layer has no place there."""
    pipeline = open_base(base)
    _check_places(recognised.layers, pipeline, base)
    tensors = load_file(file)
    missing = _missing_marker(recognised.layers, tensors, pipeline)
    changed = {**_with_one_alpha(tensors), **missing}
    source = {**tensors, **changed} if changed else str(file.parent)
    try:
        pipeline.load_lora_weights(
            source, weight_name=file.name, adapter_name=ADAPTER, local_files_only=True, use_safetensors=True
        )
    except (ValueError, RuntimeError, KeyError, OSError, IndexError) as error:
        first_line = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise WeightsError(f"It does not fit this base: {first_line}") from error
    parts = {part: getattr(pipeline, part) for part in parts_of(base) if part != "vae"}
    adapted = {part: module for part, module in parts.items() if getattr(module, "peft_config", None)}
    found = sum(len(adapted_layers(module, ADAPTER)) for module in adapted.values())
    wanted = len(recognised.layers) + sum(name.endswith(_UP) for name in missing)
    if found != wanted:
        raise WeightsError(f"diffusers reads only {found} of its {wanted} layers.")
    return Adapters(name, adapted, base)


def _with_one_alpha(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What to change in a LoRA in kohya's naming whose layers differ in alpha: each part gets one, and does the same.

    diffusers knows a layer's own alpha by a name that peft does not find, and would scale it like most of the others.
    """
    alphas = {name: _alpha_of(name, tensors) for name in tensors if name.endswith(_UP)}
    changed: dict[str, torch.Tensor] = {}
    for part in ("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_"):
        own = {name: alpha for name, alpha in alphas.items() if name.startswith(part)}
        if len(set(own.values())) > 1:
            common = Counter(own.values()).most_common(1)[0][0] or 1.0
            for name, alpha in own.items():
                changed[name] = tensors[name].float() * (alpha / common)
                changed[name.replace(_UP, _ALPHA)] = torch.tensor(common)
    return changed


def _alpha_of(up: str, tensors: dict[str, torch.Tensor]) -> float:
    """A layer's alpha; without one it is the layer's rank."""
    alpha = tensors.get(up.replace(_UP, _ALPHA))
    return float(alpha) if alpha is not None else float(tensors[up].shape[1])


def _check_places(layers: Sequence[LoraLayer], pipeline: StockPipeline, base: Path) -> None:
    """Raise WeightsError for a layer that the base does not have, or has in another size."""
    places = {
        (part, name.removeprefix("text_model.").replace(".", "_")): tuple(module.weight.shape[:2])
        for part in parts_of(base)
        for name, module in _named(part, getattr(pipeline, part))
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    }
    for layer in layers:
        place = places.get((layer.part, layer.stem))
        if place is None:
            raise WeightsError(f"It adapts {layer.name[:120]}, a layer that this base does not have.")
        if place != (layer.outputs, layer.inputs):
            ours, theirs = (" x ".join(map(str, size)) for size in (place, (layer.outputs, layer.inputs)))
            raise WeightsError(f"Its layer {layer.name[:120]} is {theirs}, and in this base it is {ours}.")


def _named(part: str, module: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    """A part's modules by their names; the denoiser's by the original's names, too, which kohya's files for XL have."""
    for name, inner in module.named_modules():
        yield name, inner
        if part == "unet":
            yield original_unet_name(name, module), inner


def _missing_marker(
    layers: Sequence[LoraLayer], tensors: dict[str, torch.Tensor], pipeline: StockPipeline
) -> dict[str, torch.Tensor]:
    """Pairs of zeros, which change nothing, for text encoders' attention in kohya's naming without out_proj.

    diffusers knows that naming by its out_proj alone, here and when it opens what is written.
    """
    marker: dict[str, torch.Tensor] = {}
    for part in {layer.part for layer in layers} - {"unet"}:
        text = [layer for layer in layers if layer.part == part and "_self_attn_" in layer.stem]
        if not any(layer.by_kohya for layer in text) or any(layer.stem.endswith("out_proj") for layer in text):
            continue
        like, width = text[0], getattr(pipeline, part).config.hidden_size
        stem = f"{like.name.partition('_encoder_')[0]}_encoder_layers_0_self_attn_out_proj"
        marker |= {
            f"{stem}.lora_down.weight": torch.zeros(like.rank, width),
            f"{stem}.lora_up.weight": torch.zeros(width, like.rank),
        }
        if (alpha := tensors.get(f"{like.name}.alpha")) is not None:
            marker[f"{stem}.alpha"] = alpha
    return marker


class WholeModel:
    """A whole model in diffusers format, in a folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder = name, folder

    def write(self, folder: Path) -> None:
        write_pipeline_folder(folder, like=self._folder, trained={})
        write_single_file(folder, portable_file(folder, self._name))

    def is_loaded_in(self, pipeline: StockPipeline) -> bool:
        return parts_are_in(
            pipeline, {p: read_part(p, self._folder / p, torch.float16) for p in parts_of(self._folder)}
        )
