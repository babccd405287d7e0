"""One sampler for previews, class pictures and the Try it page, over any family and any of the usual schedulers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from PIL import Image, ImageOps

from trainer.engine.families import Conditioning, Family

SCHEDULERS: dict[str, tuple[Any, dict[str, object]]] = {
    "DPM++ 2M": (DPMSolverMultistepScheduler, {}),
    "DPM++ 2M Karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "Euler": (EulerDiscreteScheduler, {}),
    "Euler a": (EulerAncestralDiscreteScheduler, {}),
    "DDIM": (DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
    "UniPC": (UniPCMultistepScheduler, {}),
}
_NOISE_SCHEDULE = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr"),
    *("prediction_type", "timestep_spacing", "steps_offset"),
    "_use_default_values",
)
"""What a base says of its training. How its own sampler is set (Karras sigmas, SDE ...) is for `SCHEDULERS` to say.

The last names what the base's file does not say: there the sampler's own defaults hold, not those of the class that
the file was read by.
"""
MAX_BATCH = 4
"""Pictures that are made at once, in twice as many rows with guidance; more would need more memory than training."""
StepDone = Callable[[int, int], None]


@dataclass(frozen=True)
class SamplerSettings:
    """How to sample, whatever the model: number of denoiser calls, guidance scale, scheduler by its name."""

    steps: int = 20
    guidance: float = 6.0
    scheduler: str = "DPM++ 2M"


@dataclass(frozen=True)
class StartPicture:
    """Image-to-image: start from the middle of this RGB picture, noised by `strength` (0 keeps it, 1 forgets it)."""

    picture: Image.Image
    strength: float


@dataclass(frozen=True)
class Prompts:
    """What is wanted and what is not, one prompt each."""

    positive: Conditioning
    negative: Conditioning


@torch.no_grad()
def sample(
    family: Family,
    prompts: Prompts,
    *,
    seeds: list[int],
    size: tuple[int, int],
    sampler: SamplerSettings,
    start: StartPicture | None = None,
    step_done: StepDone | None = None,
) -> list[Image.Image]:
    """Pictures of `size` (width, height) in pixels, one a seed; a picture does not depend on its neighbours' seeds.

    Classifier-free guidance as in Ho and Salimans 2022 (arXiv 2207.12598). `step_done(done, total)` is called after
    each denoiser call and may raise to stop.
    """
    scheduler = _make_scheduler(sampler.scheduler, family.scheduler_config)
    scheduler.set_timesteps(sampler.steps, device=family.device)
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    shape = (family.latent_channels, size[1] // family.latent_scale, size[0] // family.latent_scale)
    noise = torch.stack([torch.randn(shape, generator=g) for g in generators]).to(family.device)
    latents, timesteps = _begin(family, scheduler, noise, start)
    options = {"generator": generators} if "generator" in inspect.signature(scheduler.step).parameters else {}
    guided = sampler.guidance > 1
    asked = [prompts.negative, prompts.positive] if guided else [prompts.positive]
    conditioning = Conditioning.joined([prompt.repeated(len(seeds)) for prompt in asked])
    mixed = family.unet.dtype != family.dtype  # fp32 masters of a run in half precision
    for done, timestep in enumerate(timesteps, start=1):
        noisy = scheduler.scale_model_input(torch.cat([latents] * len(asked)), timestep)
        with torch.autocast(family.device.type, family.dtype, enabled=mixed):
            prediction = family.predict(noisy, timestep, conditioning).float()
        if guided:
            without, wanted = prediction.chunk(2)
            prediction = without + sampler.guidance * (wanted - without)
        latents = scheduler.step(prediction, timestep, latents, **options, return_dict=False)[0]
        if step_done is not None:
            step_done(done, len(timesteps))
    return family.decode(latents)


def _make_scheduler(name: str, config: dict[str, object]) -> Any:
    kind, options = SCHEDULERS[name]
    return kind.from_config({name: config[name] for name in _NOISE_SCHEDULE if name in config}, **options)


def _begin(
    family: Family, scheduler: Any, noise: torch.Tensor, start: StartPicture | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The latents to start from and the timesteps that are left to do."""
    if start is None:
        return noise * scheduler.init_noise_sigma, scheduler.timesteps
    size = (noise.shape[3] * family.latent_scale, noise.shape[2] * family.latent_scale)
    pixels = picture_to_tensor(ImageOps.fit(start.picture.convert("RGB"), size, Image.Resampling.LANCZOS))
    latents = family.encode_pictures(pixels[None]).mean.expand_as(noise)
    kept = max(1, min(len(scheduler.timesteps), round(len(scheduler.timesteps) * start.strength)))
    begin = len(scheduler.timesteps) - kept
    if hasattr(scheduler, "set_begin_index"):  # those that count steps; DDIM goes by the timestep itself
        scheduler.set_begin_index(begin)
    timesteps = scheduler.timesteps[begin:]
    return scheduler.add_noise(latents, noise, timesteps[:1].expand(len(noise))), timesteps


def picture_to_tensor(picture: Image.Image) -> torch.Tensor:
    """An RGB picture as fp32 [3, height, width] in [-1, 1]."""
    values = torch.from_numpy(np.array(picture, dtype=np.uint8)).permute(2, 0, 1).contiguous()
    return values.to(torch.float32).div_(127.5).sub_(1.0)
