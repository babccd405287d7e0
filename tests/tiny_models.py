"""Tiny but genuine Stable Diffusion pipelines with random weights, built from configurations alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from trainer.engine.export.pipeline_folder import declare_float32_text_encoder
from trainer.starter.tokenizer import build_tokenizer

WORDS = [
    *("a", "an", "the", "of", "on", "in", "my", "photo", "picture", "person", "animal", "object", "teapot", "style"),
    *("background", "red", "blue", "dog", "cat"),
]
WIDTH = 32


def build_tiny_model(
    folder: Path, *, prediction: Literal["epsilon", "v_prediction"] = "epsilon", half: bool = False, seed: int = 0
) -> Path:
    """Write a pipeline of about 0.3 M parameters for 64 px pictures; `half` stores it in fp16, as artifacts are."""
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        block_out_channels=(8, 16, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    scheduler = DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        steps_offset=1,
        clip_sample=False,
    )
    text = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 2, "num_hidden_layers": 2}
    return write_pipeline(folder, text, vae, unet, scheduler, half=half)


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
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CLIPTextConfig(**{"vocab_size": len(tokenizer), "max_position_embeddings": 77, **special, **text})
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(config),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    if half:
        pipeline.to(torch.float16, silence_dtype_warnings=True)
    pipeline.save_pretrained(folder)
    # Saved again, a tokenizer would lose its slow-class files, so the one that was made takes its place.
    shutil.rmtree(folder / "tokenizer")
    (folder / "made-tokenizer").rename(folder / "tokenizer")
    if half:
        declare_float32_text_encoder(folder)
    return folder
