"""Stable Diffusion 1.x and 2.x, with noise or v-prediction as the model's own scheduler says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.schedulers import DPMSolverMultistepScheduler
from PIL import Image
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from trainer.bases import tokenizer_of
from trainer.engine.families.base import Posterior, StockPipeline, stock_pipeline
from trainer.engine.families.conditioning import Conditioning
from trainer.engine.loss import PredictionType
from trainer.engine.transfers import to_device
from trainer.errors import BaseModelError


class StableDiffusion:
    """A loaded base model, and the calls that training and sampling make on it.

    Frozen parts are in `dtype`, the autoencoder in fp32 (it overflows in fp16).
    """

    TEXT_MODELS: ClassVar[dict[str, Any]] = {"text_encoder": CLIPTextModel}
    """Class of each text encoder, by its part."""
    tokenizers: dict[str, CLIPTokenizer]
    """By the part of the text encoder that reads their tokens."""
    text_encoders: dict[str, CLIPTextModel | CLIPTextModelWithProjection]
    """By part: `text_encoder`, and `text_encoder_2` where there are two."""

    def __init__(self, folder: Path, *, device: torch.device, dtype: torch.dtype) -> None:
        self.folder = folder
        self.device, self.dtype = device, dtype
        try:
            self.tokenizers = {
                part: CLIPTokenizer.from_pretrained(folder / tokenizer_of(part)) for part in self.TEXT_MODELS
            }
            self.text_encoders = {
                part: kind.from_pretrained(folder / part, dtype=dtype, use_safetensors=True)
                for part, kind in self.TEXT_MODELS.items()
            }
            self.unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype, use_safetensors=True)
            self.vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32, use_safetensors=True)
            self.scheduler: Any = DDPMScheduler.from_pretrained(folder / "scheduler")
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise BaseModelError(f"The base model in {folder} cannot be loaded: {error}") from error
        parts: list[torch.nn.Module] = [*self.text_encoders.values(), self.unet, self.vae]
        for part in parts:
            part.requires_grad_(requires_grad=False).to(device).eval()
        self._abar = self.scheduler.alphas_cumprod.to(device=device, dtype=torch.float32)

    @property
    def prediction(self) -> PredictionType:
        """What the denoiser predicts, read from the model's own scheduler."""
        match self.scheduler.config["prediction_type"]:
            case "epsilon":
                return "epsilon"
            case "v_prediction":
                return "v_prediction"
            case other:
                raise BaseModelError(f"This model predicts {other!r}; epsilon and v_prediction can be trained.")

    @property
    def timesteps(self) -> int:
        """Length of the noise schedule."""
        return int(self.scheduler.config["num_train_timesteps"])

    def alphas_cumprod(self) -> torch.Tensor:
        """The noise schedule, fp32 [timesteps], on the device."""
        return self._abar

    @torch.no_grad()
    def encode_pictures(self, pixels: torch.Tensor) -> Posterior:
        """Pixels in [-1, 1], [batch, 3, height, width], as posteriors."""
        encoded: Any = self.vae.encode(pixels.to(self.device, torch.float32))
        posterior = encoded.latent_dist
        scale, shift = self._latent_statistics()
        return Posterior(((posterior.mean - shift) * scale).float(), (posterior.std * scale).float())

    def encode_prompts(self, prompts: list[str]) -> Conditioning:
        """What the denoiser is told of prompts, which are spelt with trained words already."""
        return Conditioning(self.text_encoders["text_encoder"](self._ids(prompts, "text_encoder"))[0])

    def unconditional(self) -> Conditioning:
        """What it is told of one empty prompt when sampling, as the stock pipeline does it."""
        return self.encode_prompts([""])

    def _ids(self, prompts: list[str], part: str) -> torch.Tensor:
        """Token ids as a text encoder reads them, int64 [batch, tokens]."""
        tokenizer = self.tokenizers[part]
        ids = tokenizer(
            prompts,
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        return to_device(ids, self.device)

    def noisy_and_target(
        self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The noised latents and what the denoiser should say about them, both fp32."""
        # in fp32 here: the scheduler would round abar to the latents' dtype, and in bf16 the first sigmas become 0
        abar = self._abar[timesteps].view(-1, 1, 1, 1)
        signal, sigma = abar.sqrt(), (1 - abar).sqrt()
        noisy = signal * latents + sigma * noise
        target = noise if self.prediction == "epsilon" else signal * noise - sigma * latents
        return noisy, target

    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        """One call of the denoiser."""
        dtype = self.unet.dtype
        return self.unet(noisy.to(dtype), timesteps, conditioning.states.to(dtype), return_dict=False)[0]

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> list[Image.Image]:
        """Scaled latents as pictures."""
        scale, shift = self._latent_statistics()
        vae: Any = self.vae
        pictures: list[Image.Image] = []
        for one in (latents.float() / scale + shift).split(1):  # together they would take more memory than training
            pixels = vae.decode(one, return_dict=False)[0]
            values = ((pixels[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
            pictures.append(Image.fromarray(values))
        return pictures

    @property
    def latent_channels(self) -> int:
        return int(self.unet.config["in_channels"])

    @property
    def latent_scale(self) -> int:
        """Pixels per latent, along each side."""
        return 2 ** (len(self.vae.config["block_out_channels"]) - 1)

    @property
    def scheduler_config(self) -> dict[str, object]:
        """The noise schedule's configuration, for any sampler."""
        return dict(self.scheduler.config)

    def _latent_statistics(self) -> tuple[float, float]:
        return self.vae.config["scaling_factor"], self.vae.config.get("shift_factor") or 0.0

    def pipeline(self) -> StockPipeline:
        """The stock pipeline over these very parts."""
        stock: Any = stock_pipeline(self.folder)  # its annotations forbid the None that its documentation offers
        return stock(
            vae=self.vae,
            unet=self.unet,
            scheduler=DPMSolverMultistepScheduler.from_config(self.scheduler.config),
            **self.text_encoders,
            **{tokenizer_of(part): tokenizer for part, tokenizer in self.tokenizers.items()},
            **self._pipeline_options(),
        )

    def _pipeline_options(self) -> dict[str, Any]:
        """What the stock pipeline is told besides its parts."""
        return {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
