"""Stable Diffusion 1.5's layer sizes with random weights: speed and memory do not depend on what was learnt."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from tests.tiny_models import WORDS, use_own_tokenizer
from trainer.engine.export.pipeline_folder import declare_float32_text_encoder
from trainer.starter.tokenizer import build_tokenizer


def build_full_size_model(folder: Path) -> Path:
    """Write a pipeline of 1.07 billion parameters in fp16: 860 M UNet, 123 M text encoder, 84 M autoencoder.

    The sizes are those of the model's published configuration files; 512 px, noise prediction.
    """
    torch.manual_seed(0)
    tokenizer = build_tokenizer(WORDS, folder / "made-tokenizer")
    text = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=768,
        intermediate_size=3072,
        num_attention_heads=12,
        num_hidden_layers=12,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=2,
        sample_size=512,
    )
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    scheduler = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, clip_sample=False
    )
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16, silence_dtype_warnings=True)
    pipeline.save_pretrained(folder)
    use_own_tokenizer(folder)
    declare_float32_text_encoder(folder)
    return folder
