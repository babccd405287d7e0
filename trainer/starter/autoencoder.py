"""Trains the starter's autoencoder: 4x smaller, for drawings and for photographs.

Loss: L1, L1 of the picture's gradients (keeps outlines), a light KL. Two regularisers make the latents easy for a
denoiser: the decoder sees slightly noisy latents, and decoding a turned or shrunk latent must give the turned or
shrunk picture (EQ-VAE, Kouzelis et al. 2025, arXiv 2502.09509).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D

from trainer.starter import savepoint
from trainer.starter.resumable import Pace, Stepper, train_resumably

CROP_PX = 64


@dataclass(frozen=True)
class AutoencoderPlan:
    """Hyperparameters of one run; `steps` fixes the cosine schedule, so choose it before the first start."""

    steps: int = 8_000
    batch: int = 16
    learning_rate: float = 4e-4
    warmup: int = 100
    latent_channels: int = 4
    channels: tuple[int, ...] = (16, 32, 64)
    kl_weight: float = 1e-6
    gradient_weight: float = 0.5
    latent_noise: float = 0.12
    equivariance_share: float = 0.25
    save_every: int = 250


ON_GPU = AutoencoderPlan(steps=3_500, batch=128, learning_rate=8e-4, warmup=300, save_every=500)


def build_autoencoder(latent_channels: int = 4, channels: tuple[int, ...] = (16, 32, 64)) -> AutoencoderKL:
    """About 0.65 M parameters. GroupNorm keeps 4 channels or more a group: with fewer it forgets absolute colour.

    Every residual branch starts at zero and the posterior's spread near zero. With the usual start the decoder sees
    little but noise, and colours are learnt one axis at a time (measured: twice the steps to the same L1).
    """
    autoencoder: Any = AutoencoderKL  # its annotations allow tuples of one only
    model = autoencoder(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=4,
        mid_block_add_attention=False,
        sample_size=128,
    )
    with torch.no_grad():
        for block in model.modules():
            if isinstance(block, ResnetBlock2D):
                for parameter in block.conv2.parameters():
                    parameter.zero_()
        model.quant_conv.weight[latent_channels:].zero_()
        model.quant_conv.bias[latent_channels:].fill_(-6.0)
    return model


def learning_rate_at(step: int, plan_steps: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, plan_steps - warmup))))


def to_tensor(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 [batch, height, width, 3] -> float32 [batch, 3, height, width] in [-1, 1]."""
    return pictures.permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


class Crops:
    """Random 64 px crops on `device`: half composed scenes, a quarter surfaces, a quarter photos.

    All three are uint8 [n, side, side, 3].
    """

    def __init__(self, scenes: np.ndarray, surfaces: np.ndarray, photos: np.ndarray, device: torch.device) -> None:
        self._pools = [
            (share, halved, torch.from_numpy(pictures).to(device))
            for share, halved, pictures in ((0.5, 0.0, scenes), (0.25, 0.3, surfaces), (0.25, 0.3, photos))
        ]

    def batch(self, size: int, rng: np.random.Generator) -> torch.Tensor:
        """float32 [size, 3, CROP_PX, CROP_PX]; `size` is a multiple of 4."""
        return to_tensor(torch.cat([self._drawn(pool, round(size * s), h, rng) for s, h, pool in self._pools]))

    def _drawn(self, pool: torch.Tensor, count: int, halved: float, rng: np.random.Generator) -> torch.Tensor:
        """`count` crops; a share of them, `halved`, of pictures at half their size."""
        stride = np.where(rng.random(count) < halved, 2, 1)
        corners = rng.integers(0, pool.shape[1] - CROP_PX * stride + 1, (2, count))
        rows, columns = corners[..., None] + stride[:, None] * np.arange(CROP_PX)
        chosen = rng.integers(len(pool), size=count)[:, None, None]
        return pool[_index(chosen, pool), _index(rows[:, :, None], pool), _index(columns[:, None, :], pool)]


def _index(numbers: np.ndarray, pool: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(numbers).to(pool.device)


def _gradient_l1(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    error = output - target
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def _transformed(
    latents: torch.Tensor, pictures: torch.Tensor, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same quarter turn, mirror or shrink applied to latents and pictures."""
    if rng.random() < 0.5:
        factor = float(rng.choice([0.5, 0.75]))
        shrink = [F.interpolate(x, scale_factor=factor, mode="bilinear", antialias=True) for x in (latents, pictures)]
        return shrink[0], shrink[1]
    turns = int(rng.integers(1, 4))
    turned = [torch.rot90(x, turns, (2, 3)) for x in (latents, pictures)]
    return turned[0], turned[1]


def reconstruction_loss(
    model: AutoencoderKL, pictures: torch.Tensor, plan: AutoencoderPlan, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of one batch in [-1, 1], and its plain L1 for the log."""
    autoencoder: Any = model
    posterior = autoencoder.encode(pictures).latent_dist
    latents = posterior.sample().float()
    target = pictures
    if rng.random() < plan.equivariance_share:
        latents, target = _transformed(latents, pictures, rng)
    scale = latents.detach().std() * plan.latent_noise * torch.rand(latents.shape[0], 1, 1, 1, device=latents.device)
    output = autoencoder.decode(latents + scale * torch.randn_like(latents)).sample.float()
    l1 = (output - target).abs().mean()
    kl = posterior.kl().float().mean()
    return l1 + plan.gradient_weight * _gradient_l1(output, target) + plan.kl_weight * kl, l1.detach()


def train_autoencoder(
    crops: Callable[[], Crops], folder: Path, plan: AutoencoderPlan, device: torch.device
) -> AutoencoderKL:
    """Train to `plan.steps`, going on from `folder/autoencoder.pt` if there is one; returns the averaged model.

    `crops` is called only if there is something left to train.
    """
    torch.manual_seed(0)
    model: Any = build_autoencoder(plan.latent_channels, plan.channels)
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, weight_decay=1e-4, fused=True)
    average = savepoint.Average(model, 0.999)

    def loss_at(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng((1, step))
        torch.manual_seed(step)
        with torch.autocast(device.type, torch.bfloat16):
            return reconstruction_loss(model, crops().batch(plan.batch, rng), plan, rng)

    def rate(step: int) -> float:
        return learning_rate_at(step, plan.steps, plan.learning_rate, plan.warmup)

    train_resumably(
        model,
        optimizer,
        average,
        folder / "autoencoder.pt",
        Pace(plan.steps, plan.save_every),
        Stepper(model, optimizer, rate, loss_at),
    )
    return model.eval()
