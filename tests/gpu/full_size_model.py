"""Stable Diffusion 1.5's layer sizes with random weights: speed and memory do not depend on what was learnt."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

from tests.tiny_models import write_pipeline


def build_full_size_model(folder: Path) -> Path:
    """Write a pipeline of about a billion parameters in fp16: 860 M UNet, 85 M text encoder, 84 M autoencoder.

    The sizes are those of the model's published configuration files, but for the vocabulary, which is its tokenizer's;
    512 px, noise prediction.
    """
    torch.manual_seed(0)
    text = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
    }
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
    return write_pipeline(folder, text, vae, unet, scheduler, half=True)
