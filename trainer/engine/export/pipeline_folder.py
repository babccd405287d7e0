"""Writes a whole model in diffusers format, in fp16, so that any tool opens it without being told a dtype."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from trainer.bases import PARTS_WITHOUT_WEIGHTS, TEXT_ENCODERS, family_of
from trainer.engine.families import StockPipeline

_PARTS = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}
_TEXT_MODELS = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}


def write_pipeline_folder(folder: Path, *, like: Path, trained: dict[str, torch.nn.Module]) -> None:
    """The base model of `like` with its trained parts in place of the old ones; those are converted in place.

    Parts that were not trained are read from the base again: in memory they may be rounded to bf16. Tokenizer and
    scheduler are copied as they are; other tools want the vocab.json that newer transformers no longer write.
    """
    for part in parts_of(like):
        module = trained[part] if part in trained else read_part(part, like / part, torch.float16)
        module.half().save_pretrained(folder / part)  # type: ignore[operator]
    copy_around_weights(folder, like=like)
    declare_float32_text_encoders(folder)
    forget_folders(folder)


def parts_of(model: Path) -> tuple[str, ...]:
    """The parts with weights of a model in diffusers format."""
    return ("unet", "vae", *TEXT_ENCODERS[family_of(model)])


def copy_around_weights(folder: Path, *, like: Path) -> None:
    """Tokenizer, scheduler and index of the model of `like`, without the parts that this app does not use."""
    for part in PARTS_WITHOUT_WEIGHTS:
        if (like / part).is_dir():
            shutil.copytree(like / part, folder / part)
    index = json.loads((like / "model_index.json").read_text(encoding="utf-8"))
    index |= {name: [None, None] for name in ("feature_extractor", "image_encoder")}
    if index["_class_name"] == "StableDiffusionPipeline":
        index |= {"safety_checker": [None, None], "requires_safety_checker": False}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def forget_folders(pipeline: Path) -> None:
    """Take out of the configuration from which folder of this machine a part was loaded."""
    for file in pipeline.glob("*/config.json"):
        config = json.loads(file.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)
        file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def parts_are_in(pipeline: StockPipeline, parts: dict[str, torch.nn.Module]) -> bool:
    """Whether a stock pipeline holds exactly these parts' weights."""
    for part, module in parts.items():
        loaded = dict(getattr(pipeline, part).named_parameters())
        ours = dict(module.named_parameters())
        if loaded.keys() != ours.keys():
            return False
        if not all(torch.equal(loaded[name].float().cpu(), ours[name].float().cpu()) for name in ours):
            return False
    return True


def put_parts(pipeline: StockPipeline, weights: dict[str, torch.Tensor]) -> None:
    """Other weights, by part and name as in `unet.NAME`, in a stock pipeline. KeyError for one too many."""
    for part, own in by_part(weights).items():
        ours = dict(getattr(pipeline, part).named_parameters())
        with torch.no_grad():
            for name, tensor in own.items():
                ours[name].copy_(tensor)


def by_part(weights: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """`unet.NAME` as `unet`, `NAME`."""
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for whole, tensor in weights.items():
        part, name = whole.split(".", 1)
        parts.setdefault(part, {})[name] = tensor
    return parts


def read_part(part: str, folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """One part of a model, from its folder."""
    if part in _TEXT_MODELS:
        return _TEXT_MODELS[part].from_pretrained(folder, dtype=dtype, use_safetensors=True)
    return _PARTS[part].from_pretrained(folder, torch_dtype=dtype, use_safetensors=True)


def declare_float32_text_encoders(folder: Path) -> None:
    """transformers loads weights as they are stored and diffusers casts them to fp32; without this the two disagree."""
    for path in folder.glob("text_encoder*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("torch_dtype", None)
        path.write_text(json.dumps({**config, "dtype": "float32"}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
