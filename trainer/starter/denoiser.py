"""Trains the starter's denoiser and text encoder together on cached latents.

v-prediction on Stable Diffusion's schedule, rescaled to end in pure noise (Lin et al. 2024, arXiv 2305.08891), so
that plain backgrounds get exactly the colour they were asked for. The first steps see the latents at half their
size, where a picture costs a fifth of the time and which words make which shapes is learnt as well. The rate is
constant after a warm-up and falls to zero over the last steps; a run can be made longer until then.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch.nn.functional import avg_pool2d
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from trainer.starter import savepoint
from trainer.starter.latents import LatentBank
from trainer.starter.resumable import Pace, train_resumably
from trainer.starter.scenes import caption

TEXT_WIDTH = 160
EMPTY_SHARE = 0.1
SNR_KNEE = 5.0


@dataclass(frozen=True)
class DenoiserPlan:
    """Hyperparameters: the first `half_size` of `steps` see small latents, the last `cooldown` a falling rate."""

    steps: int = 30_000
    half_size: int = 15_000
    cooldown: int = 4_000
    batch: int = 24
    half_size_batch: int = 64
    learning_rate: float = 8e-4
    warmup: int = 500
    average_decay: float = 0.998
    save_every: int = 100


def build_unet() -> UNet2DConditionModel:
    """12.5 M parameters over 32 x 32 x 4 latents: few channels where pixels are many, attention from 16 x 16 down."""
    channels = (32, 64, 160, 192)
    unet: Any = UNet2DConditionModel  # its annotations allow tuples of one only
    return unet(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=tuple(c // 32 for c in channels),  # diffusers' name for the number of heads
        norm_num_groups=8,
        use_linear_projection=True,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A CLIP text model of about 1.2 M parameters."""
    make_config: Any = CLIPTextConfig
    config = make_config(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_attention_heads=5,
        num_hidden_layers=3,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        hidden_act="gelu",
    )
    return CLIPTextModel(config)


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's schedule with zero terminal SNR."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


class TextAndDenoiser(torch.nn.Module):
    """Both trained parts as one module, for one optimizer and one average."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder(tokenizer)
        self.unet = build_unet()


def rate_at(step: int, plan: DenoiserPlan) -> float:
    """Warm-up, constant, and a square-root fall over the cooldown."""
    if step < plan.warmup:
        return plan.learning_rate * (step + 1) / plan.warmup
    into = max(0.0, (step - (plan.steps - plan.cooldown)) / plan.cooldown)
    return plan.learning_rate * (1 - min(1.0, into) ** 0.5)


def train_denoiser(bank: LatentBank, tokenizer: CLIPTokenizer, folder: Path, plan: DenoiserPlan) -> TextAndDenoiser:
    """Train to `plan.steps`, going on from `folder/denoiser.pt` if there is one; returns the averaged model."""
    torch.manual_seed(0)
    model = TextAndDenoiser(tokenizer)
    model.unet.set_attn_processor(AttnProcessor())  # a CPU's fused attention is a quarter slower backwards
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    average = savepoint.Average(model, plan.average_decay)
    abar = build_scheduler().alphas_cumprod

    def loss_at(step: int) -> tuple[torch.Tensor, float]:
        loss = _loss(model, _batch(bank, plan, step), tokenizer, abar, np.random.default_rng((3, step)))
        return loss, loss.item()

    train_resumably(
        model,
        optimizer,
        average,
        folder / "denoiser.pt",
        Pace(plan.steps, plan.save_every),
        rate_at=lambda step: rate_at(step, plan),
        loss_at=loss_at,
    )
    return model.eval()


def _batch(bank: LatentBank, plan: DenoiserPlan, step: int) -> tuple[torch.Tensor, list[str]]:
    """Latents [batch, 4, 32 or 16, 32 or 16] of one step and their captions."""
    rng = np.random.default_rng((2, step))
    small = step < plan.half_size
    chosen = rng.integers(len(bank.scenes), size=plan.half_size_batch if small else plan.batch)
    words = ["" if rng.random() < EMPTY_SHARE else caption(bank.scenes[i], rng) for i in chosen]
    latents = torch.from_numpy(bank.latents[chosen].astype(np.float32))
    return (avg_pool2d(latents, 2) if small else latents), words


def _loss(
    model: TextAndDenoiser,
    batch: tuple[torch.Tensor, list[str]],
    tokenizer: CLIPTokenizer,
    abar: torch.Tensor,
    rng: np.random.Generator,
) -> torch.Tensor:
    """v-prediction loss of one batch; noise-free timesteps, where there is nothing to learn, count less."""
    latents, words = batch
    ids = tokenizer(words, padding="max_length", truncation=True, return_tensors="pt").input_ids
    noise = torch.from_numpy(rng.standard_normal(latents.shape, dtype=np.float32))
    timesteps = torch.from_numpy(rng.integers(len(abar), size=len(words)))
    a = abar[timesteps].view(-1, 1, 1, 1)
    noisy = a.sqrt() * latents + (1 - a).sqrt() * noise
    target = a.sqrt() * noise - (1 - a).sqrt() * latents
    with torch.autocast("cpu", torch.bfloat16):
        states = model.text_encoder(ids)[0]
        prediction = model.unet(noisy, timesteps, states, return_dict=False)[0]
    snr = a.flatten() / (1 - a.flatten())
    per_example = (prediction.float() - target).pow(2).mean((1, 2, 3))
    return (per_example * SNR_KNEE / (SNR_KNEE + snr)).mean()
