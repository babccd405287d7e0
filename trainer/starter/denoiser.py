"""Trains the starter's denoiser and text encoder together on cached latents.

v-prediction on Stable Diffusion's schedule, rescaled to end in pure noise (Lin et al. 2024, arXiv 2305.08891), so
that plain backgrounds get exactly the colour they were asked for. The first steps see the latents at half their size,
where a picture costs a fifth of the time and which words make which shapes is learnt as well. Noise that hides shapes
comes up more often than other noise. The rate is constant after a warm-up and falls to zero over the last steps; a run
can be made longer until then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from torch.nn.functional import avg_pool2d
from torch.utils.data import DataLoader, Dataset
from transformers import CLIPTokenizer

from trainer.machine.devices import usable_cores
from trainer.starter import savepoint
from trainer.starter.batches import Batch, Captioner
from trainer.starter.graphed import GraphedStepper
from trainer.starter.latents import LatentBank
from trainer.starter.networks import TextAndDenoiser, build_scheduler
from trainer.starter.optimizers import MuonAndAdamW
from trainer.starter.published import load_weights
from trainer.starter.resumable import Optimizer, Pace, Stepper, Steps, train_resumably

SNR_KNEE = 5.0
LATE = 3.0  # root of uniform draws, see Captioner.batch


@dataclass(frozen=True)
class DenoiserPlan:
    """Hyperparameters: the first `half_size` of `steps` see small latents, the last `cooldown` a falling rate."""

    steps: int = 20_000
    half_size: int = 8_000
    cooldown: int = 2_000
    batch: int = 64
    half_size_batch: int = 64
    learning_rate: float = 1.5e-3
    warmup: int = 200
    average_decay: float = 0.995
    save_every: int = 100
    workers: int = 1


# A GPU wants large batches, all of one shape: its steps are recorded once.
ON_GPU = DenoiserPlan(
    steps=30_000,
    half_size=15_000,
    cooldown=4_000,
    batch=512,
    half_size_batch=1024,
    learning_rate=6e-4,
    warmup=500,
    average_decay=0.999,
    save_every=500,
)


def rate_at(step: int, plan: DenoiserPlan) -> float:
    """Warm-up, again where latents become large, then constant, and a square-root fall over the cooldown."""
    since = step if step < plan.half_size else step - plan.half_size
    if since < plan.warmup:
        return plan.learning_rate * (since + 1) / plan.warmup
    into = max(0.0, (step - (plan.steps - plan.cooldown)) / plan.cooldown)
    return plan.learning_rate * (1 - min(1.0, into) ** 0.5)


def train_denoiser(
    bank: LatentBank,
    tokenizer: CLIPTokenizer,
    folder: Path,
    plan: DenoiserPlan,
    *,
    start: Path | None = None,
    device: torch.device | None = None,
) -> TextAndDenoiser:
    """Train to `plan.steps`, going on from `folder/denoiser.pt` if there is one; returns the averaged model.

    The first step's weights are random, or those of the starter in `start`.
    """
    device = device or torch.device("cpu")
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = TextAndDenoiser(tokenizer)
    if start is not None:
        load_weights(model.text_encoder, model.unet, start)
    model.to(device)
    on_gpu = device.type == "cuda"
    batches = Batches(bank, tokenizer, plan)
    objective = Objective(model, bank, device)
    optimizer, stepper = (_on_gpu if on_gpu else _on_cpu)(model, batches, objective)
    train_resumably(
        model,
        optimizer,
        savepoint.Average(model, plan.average_decay),
        folder / "denoiser.pt",
        Pace(plan.steps, plan.save_every, plan.workers),
        stepper,
    )
    return model.eval()


def _on_cpu(model: TextAndDenoiser, batches: Batches, objective: Objective) -> tuple[Optimizer, Steps]:
    optimizer = MuonAndAdamW(model)
    model.unet.set_attn_processor(AttnProcessor())  # a CPU's fused attention is slower backwards
    model.text_encoder.set_attn_implementation("eager")  # and of the text encoder's time it takes more than half

    def loss_at(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(step)
        loss = objective(batches[step])
        return loss, loss.detach()

    return optimizer, Stepper(model, optimizer, partial(rate_at, plan=batches.plan), loss_at)


def _on_gpu(model: TextAndDenoiser, batches: Batches, objective: Objective) -> tuple[Optimizer, Steps]:
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=0.01, fused=True, capturable=True
    )
    unet: Any = model.unet
    unet.to(memory_format=torch.channels_last)

    def batches_from(step: int) -> Iterator[Batch]:
        steps = range(step, batches.plan.steps)
        workers = max(1, usable_cores() - 2)
        return iter(DataLoader(batches, None, sampler=steps, num_workers=workers, prefetch_factor=8, pin_memory=True))

    rate = partial(rate_at, plan=batches.plan)
    return optimizer, GraphedStepper(model, optimizer, rate, batches_from, objective)


class Batches(Dataset[Batch]):
    """The batches of a run by step."""

    def __init__(self, bank: LatentBank, tokenizer: CLIPTokenizer, plan: DenoiserPlan) -> None:
        self.plan = plan
        self._captioner = Captioner(bank.scenes, tokenizer)

    def __getitem__(self, step: int) -> Batch:
        plan, rng = self.plan, np.random.default_rng((2, step))
        if step < plan.half_size:
            return self._captioner.batch(plan.half_size_batch, rng, late=LATE, half_size=True)
        return self._captioner.batch(plan.batch, rng, late=LATE, half_size=False)


class Objective:
    """v-prediction loss of a batch; noise-free timesteps, where there is nothing to learn, count less."""

    def __init__(self, model: TextAndDenoiser, bank: LatentBank, device: torch.device) -> None:
        self._model, self._device = model, device
        self._latents = torch.from_numpy(bank.latents).to(device)
        self._abar = build_scheduler().alphas_cumprod.to(device)

    def __call__(self, batch: Batch) -> torch.Tensor:
        latents, references = self._latents[batch.pictures].float(), self._latents[batch.referred].float()
        if batch.half_size:
            latents = avg_pool2d(latents, 2)
        a = self._abar[batch.timesteps].view(-1, 1, 1, 1)
        noise = torch.randn_like(latents)
        noisy = a.sqrt() * latents + (1 - a).sqrt() * noise
        target = a.sqrt() * noise - (1 - a).sqrt() * latents
        with torch.autocast(self._device.type, torch.bfloat16):
            states = self._model.text_states(batch.ids, references)
            prediction = self._model.unet(noisy, batch.timesteps, states, return_dict=False)[0]
        snr = a.flatten() / (1 - a.flatten())
        per_example = (prediction.float() - target).pow(2).mean((1, 2, 3))
        return (per_example * SNR_KNEE / (SNR_KNEE + snr)).mean()
