"""Tiny but genuine Stable Diffusion pipelines with random weights, built from configurations alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from trainer.engine.export.pipeline_folder import declare_float32_text_encoders
from trainer.starter.tokenizer import build_tokenizer

WORDS = [
    *("a", "an", "the", "of", "on", "in", "my", "photo", "picture", "person", "animal", "object", "teapot", "style"),
    *("background", "red", "blue", "dog", "cat"),
]
WIDTH = 32
_TEXT = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 2, "num_hidden_layers": 2}
_UNET: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 2,
    "norm_num_groups": 4,
}


def _autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
    )


def _scheduler(prediction: str) -> DDPMScheduler:
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        steps_offset=1,
        clip_sample=False,
    )


def _text_config(tokenizer: CLIPTokenizer, sizes: dict[str, Any]) -> CLIPTextConfig:
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return CLIPTextConfig(**{"vocab_size": len(tokenizer), "max_position_embeddings": 77, **special, **sizes})


def build_tiny_model(
    folder: Path, *, prediction: Literal["epsilon", "v_prediction"] = "epsilon", half: bool = False, seed: int = 0
) -> Path:
    """Write a pipeline of about 0.3 M parameters for 64 px pictures; `half` stores it in fp16, as artifacts are."""
    torch.manual_seed(seed)
    vae, unet = _autoencoder(), UNet2DConditionModel(**_UNET, cross_attention_dim=WIDTH)
    return write_pipeline(folder, _TEXT, vae, unet, _scheduler(prediction), half=half)


def build_tiny_xl_model(folder: Path, *, half: bool = False, seed: int = 0) -> Path:
    """The same of the family Stable Diffusion XL: two text encoders, of which the second has a projection."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        **_UNET,
        cross_attention_dim=3 * WIDTH,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
    )
    tokenizer = build_tokenizer(WORDS, folder / "made-tokenizer")
    second = {**_TEXT, "hidden_size": 2 * WIDTH, "hidden_act": "gelu", "projection_dim": WIDTH}
    second |= {"eos_token_id": 2}  # as the published model says, though it is not the end of text
    pipeline = StableDiffusionXLPipeline(
        vae=_autoencoder(),
        text_encoder=CLIPTextModel(_text_config(tokenizer, _TEXT)),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(tokenizer, second)),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=_scheduler("epsilon"),
        add_watermarker=False,
    )
    return _write(pipeline, folder, half=half)


def write_pipeline(
    folder: Path,
    text: dict[str, int],
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    scheduler: DDPMScheduler,
    *,
    half: bool,
) -> Path:
    """Write the parts, a CLIP text model of the sizes in `text` and a tokenizer of a few words as one pipeline."""
    tokenizer = build_tokenizer(WORDS, folder / "made-tokenizer")
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(_text_config(tokenizer, text)),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _write(pipeline, folder, half=half)


def _write(pipeline: StableDiffusionPipeline | StableDiffusionXLPipeline, folder: Path, *, half: bool) -> Path:
    """Write it with the tokenizer in folder/made-tokenizer: saved again, that would lose its slow-class files."""
    if half:
        pipeline.to(torch.float16, silence_dtype_warnings=True)
    pipeline.save_pretrained(folder)
    for part in folder.glob("tokenizer*"):
        shutil.rmtree(part)
        shutil.copytree(folder / "made-tokenizer", part)
    shutil.rmtree(folder / "made-tokenizer")
    if half:
        declare_float32_text_encoders(folder)
    return folder
