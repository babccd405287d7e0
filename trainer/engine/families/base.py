"""What every family offers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from trainer.bases import family_of
from trainer.engine.families.conditioning import Conditioning
from trainer.engine.loss import PredictionType

StockPipeline = StableDiffusionPipeline | StableDiffusionXLPipeline


@dataclass(frozen=True)
class Posterior:
    """The autoencoder's posterior in scaled latent space: mean and std, each fp32 [batch, channels, height, width]."""

    mean: torch.Tensor
    std: torch.Tensor


class Family(Protocol):
    """A loaded base model, and the calls that training and sampling make on it."""

    tokenizers: dict[str, CLIPTokenizer]
    """By the part of the text encoder that reads their tokens."""
    text_encoders: dict[str, CLIPTextModel | CLIPTextModelWithProjection]
    """By part: `text_encoder`, and `text_encoder_2` where a family has two."""
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    folder: Path
    device: torch.device
    dtype: torch.dtype

    @property
    def prediction(self) -> PredictionType:
        """What the denoiser predicts, read from the model's own scheduler."""
        ...

    @property
    def timesteps(self) -> int:
        """Length of the noise schedule."""
        ...

    def alphas_cumprod(self) -> torch.Tensor:
        """The noise schedule, fp32 [timesteps], on the device."""
        ...

    def encode_pictures(self, pixels: torch.Tensor) -> Posterior:
        """Pixels in [-1, 1], [batch, 3, height, width], as posteriors."""
        ...

    def encode_prompts(self, prompts: list[str]) -> Conditioning:
        """What the denoiser is told of prompts, which are spelt with trained words already."""
        ...

    def unconditional(self) -> Conditioning:
        """What it is told of one empty prompt when sampling, as the stock pipeline does it."""
        ...

    def noisy_and_target(
        self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The noised latents and what the denoiser should say about them, both fp32."""
        ...

    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        """One call of the denoiser."""
        ...

    def decode(self, latents: torch.Tensor) -> list[Image.Image]:
        """Scaled latents as pictures."""
        ...

    @property
    def latent_channels(self) -> int: ...

    @property
    def latent_scale(self) -> int:
        """Pixels per latent, along each side."""
        ...

    @property
    def scheduler_config(self) -> dict[str, object]:
        """The noise schedule's configuration, for any sampler."""
        ...

    def pipeline(self) -> StockPipeline:
        """The stock pipeline over these very parts."""
        ...


def stock_pipeline(folder: Path) -> type[StockPipeline]:
    """Diffusers' own pipeline for the model in `folder`."""
    match family_of(folder):
        case "stable-diffusion":
            return StableDiffusionPipeline
        case "stable-diffusion-xl":
            return StableDiffusionXLPipeline
