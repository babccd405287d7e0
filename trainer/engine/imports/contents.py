"""What an imported file becomes: vectors, adapters or a whole model, ready to be written as an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file

from trainer.artifact import portable_file
from trainer.concept import ConceptWords
from trainer.engine.export.adapters import ADAPTER, adapters_are_in, write_adapters
from trainer.engine.export.embeddings import embedding_is_in, write_embedding
from trainer.engine.export.pipeline_folder import parts_are_in, read_half, write_pipeline_folder
from trainer.engine.export.single_file import write_single_file
from trainer.errors import WeightsError
from trainer.recognise import Recognised


class Embedding:
    """Vectors of a textual inversion."""

    def __init__(self, words: ConceptWords, file: Path, recognised: Recognised) -> None:
        rows = load_file(file)[recognised.tensor].float()
        self._words, self._rows = words, rows.reshape(-1, rows.shape[-1])
        if not torch.isfinite(self._rows).all():
            raise WeightsError("Its vectors are not numbers.")

    def write(self, folder: Path) -> None:
        write_embedding(folder, self._words, self._rows)

    def is_loaded_in(self, pipeline: StableDiffusionPipeline) -> bool:
        return embedding_is_in(pipeline, self._words, self._rows)


class Adapters:
    """Adapters in the modules of a pipeline: read from a file by diffusers' own loader, or put there by us."""

    def __init__(self, name: str, adapted: dict[str, Any]) -> None:
        self._name, self._adapted = name, adapted

    def write(self, folder: Path) -> None:
        write_adapters(folder, self._name, self._adapted)

    def is_loaded_in(self, pipeline: StableDiffusionPipeline) -> bool:
        return adapters_are_in(pipeline, self._adapted)


def read_adapters(name: str, file: Path, recognised: Recognised, base: Path) -> Adapters:
    """Load a LoRA of any naming onto its base. Raises WeightsError where a layer has no place there."""
    pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None, local_files_only=True)
    try:
        pipeline.load_lora_weights(
            str(file.parent), weight_name=file.name, adapter_name=ADAPTER, local_files_only=True, use_safetensors=True
        )
    except (ValueError, RuntimeError, KeyError, OSError, IndexError) as error:
        first_line = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise WeightsError(f"It does not fit this base: {first_line}") from error
    parts = {part: getattr(pipeline, part) for part in ("unet", "text_encoder")}
    adapted = {part: module for part, module in parts.items() if getattr(module, "peft_config", None)}
    found = sum(len(get_peft_model_state_dict(module, adapter_name=ADAPTER)) for module in adapted.values()) // 2
    if found != recognised.layers:
        raise WeightsError(f"Only {found} of its {recognised.layers} layers have a place in this base.")
    return Adapters(name, adapted)


class WholeModel:
    """A whole model in diffusers format, in a folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder = name, folder

    def write(self, folder: Path) -> None:
        write_pipeline_folder(folder, like=self._folder, trained={})
        write_single_file(folder, portable_file(folder, self._name))

    def is_loaded_in(self, pipeline: StableDiffusionPipeline) -> bool:
        return parts_are_in(pipeline, {p: read_half(p, self._folder / p) for p in ("unet", "vae", "text_encoder")})
