"""Trains the starter's denoiser and text encoder together on cached latents.

v-prediction on Stable Diffusion's schedule, rescaled to end in pure noise (Lin et al. 2024, arXiv 2305.08891), so
that plain backgrounds get exactly the colour they were asked for. The first steps see the latents at half their size,
where a picture costs a fifth of the time and which words make which shapes is learnt as well; noise that hides shapes
comes up more often there. The rate is constant after a warm-up and falls to zero over the last steps; a run can be
made longer until then.
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

from trainer.starter import references, savepoint
from trainer.starter.latents import LatentBank
from trainer.starter.published import load_weights
from trainer.starter.resumable import Pace, train_resumably
from trainer.starter.scenes import caption

TEXT_WIDTH = 160
TIMESTEPS = 1000
EMPTY_SHARE = 0.1
# How often a caption refers to its own picture, and how often to another picture of its one thing. A thing without a
# name is always referred to.
OWN_SHARE, TWIN_SHARE = 0.2, 0.1
SNR_KNEE = 5.0


@dataclass(frozen=True)
class DenoiserPlan:
    """Hyperparameters: the first `half_size` of `steps` see small latents, the last `cooldown` a falling rate."""

    steps: int = 30_000
    half_size: int = 15_000
    cooldown: int = 4_000
    batch: int = 24
    half_size_batch: int = 64
    learning_rate: float = 4e-4
    warmup: int = 500
    average_decay: float = 0.998
    save_every: int = 100
    workers: int = 1


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
        num_train_timesteps=TIMESTEPS,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


class TextAndDenoiser(torch.nn.Module):
    """All trained parts as one module, for one optimizer and one average. The reference encoder is not exported."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder(tokenizer)
        self.unet = build_unet()
        self.references = references.ReferenceEncoder(TEXT_WIDTH)
        self.marker_id = tokenizer.get_vocab()[f"{references.MARKER}</w>"]

    def text_states(self, ids: torch.Tensor, reference_latents: torch.Tensor) -> torch.Tensor:
        """States [batch, tokens, width] of prompts, with a reference for each prompt that has markers, in order."""
        vectors = self.references(reference_latents)
        with references.placed(self.text_encoder.get_input_embeddings(), self.marker_id, vectors):
            return self.text_encoder(ids)[0]


def rate_at(step: int, plan: DenoiserPlan) -> float:
    """Warm-up, constant, and a square-root fall over the cooldown."""
    if step < plan.warmup:
        return plan.learning_rate * (step + 1) / plan.warmup
    into = max(0.0, (step - (plan.steps - plan.cooldown)) / plan.cooldown)
    return plan.learning_rate * (1 - min(1.0, into) ** 0.5)


def train_denoiser(
    bank: LatentBank, tokenizer: CLIPTokenizer, folder: Path, plan: DenoiserPlan, *, start: Path | None = None
) -> TextAndDenoiser:
    """Train to `plan.steps`, going on from `folder/denoiser.pt` if there is one; returns the averaged model.

    The first step's weights are random, or those of the starter in `start`.
    """
    torch.manual_seed(0)
    model = TextAndDenoiser(tokenizer)
    if start is not None:
        load_weights(model.text_encoder, model.unet, start)
    model.unet.set_attn_processor(AttnProcessor())  # a CPU's fused attention is slower backwards
    model.text_encoder.set_attn_implementation("eager")  # and of the text encoder's time it takes more than half
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    average = savepoint.Average(model, plan.average_decay)
    abar = build_scheduler().alphas_cumprod

    batches = Batches(bank, plan)

    def loss_at(step: int) -> tuple[torch.Tensor, float]:
        loss = _loss(model, batches.at(step), tokenizer, abar, np.random.default_rng((3, step)))
        return loss, loss.item()

    train_resumably(
        model,
        optimizer,
        average,
        folder / "denoiser.pt",
        Pace(plan.steps, plan.save_every, plan.workers),
        rate_at=lambda step: rate_at(step, plan),
        loss_at=loss_at,
    )
    return model.eval()


@dataclass(frozen=True)
class Batch:
    """Latents [batch, channels, side, side], timesteps and captions, and a reference for each caption with markers.

    `padding` is how far the captions are padded: as in pictures' prompts, or, while latents are small, no further than
    need be, which saves a fifth of the time.
    """

    latents: torch.Tensor
    timesteps: torch.Tensor
    captions: list[str]
    padding: str
    references: torch.Tensor


class Batches:
    """The batches of a run: a pure function of the step."""

    def __init__(self, bank: LatentBank, plan: DenoiserPlan) -> None:
        self._bank, self._plan = bank, plan
        self._twins = references.twins_of(bank.scenes)

    def at(self, step: int) -> Batch:
        rng = np.random.default_rng((2, step))
        small = step < self._plan.half_size
        chosen = rng.integers(len(self._bank.scenes), size=self._plan.half_size_batch if small else self._plan.batch)
        captions, shown = [], []
        for picture in chosen:
            scene = self._bank.scenes[picture]
            reference = self._reference(int(picture), rng)
            if rng.random() < EMPTY_SHARE:
                captions.append("")
            elif reference is not None:
                captions.append(caption(scene, rng, thing=references.WORDS))
                shown.append(reference)
            else:
                captions.append(caption(scene, rng))
        latents, referred = self._latents(chosen), self._latents(np.array(shown, int))
        part = rng.random(len(chosen))
        timesteps = torch.from_numpy((np.cbrt(part) if small else part) * TIMESTEPS).long()
        if small:
            return Batch(avg_pool2d(latents, 2), timesteps, captions, "longest", referred)
        return Batch(latents, timesteps, captions, "max_length", referred)

    def _reference(self, picture: int, rng: np.random.Generator) -> int | None:
        """The picture that the caption refers to, if it does."""
        scene = self._bank.scenes[picture]
        draw = rng.random()
        if draw < OWN_SHARE:
            return picture
        others = [p for p in self._twins.get((scene.style, scene.items), []) if p != picture]
        if others and (draw < OWN_SHARE + TWIN_SHARE or scene.items[0].look is not None):
            return int(rng.choice(others))
        return picture if scene.items[0].look is not None else None

    def _latents(self, pictures: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self._bank.latents[pictures].astype(np.float32))


def _loss(
    model: TextAndDenoiser, batch: Batch, tokenizer: CLIPTokenizer, abar: torch.Tensor, rng: np.random.Generator
) -> torch.Tensor:
    """v-prediction loss of one batch; noise-free timesteps, where there is nothing to learn, count less."""
    latents = batch.latents
    ids = tokenizer(batch.captions, padding=batch.padding, truncation=True, return_tensors="pt").input_ids
    noise = torch.from_numpy(rng.standard_normal(latents.shape, dtype=np.float32))
    a = abar[batch.timesteps].view(-1, 1, 1, 1)
    noisy = a.sqrt() * latents + (1 - a).sqrt() * noise
    target = a.sqrt() * noise - (1 - a).sqrt() * latents
    with torch.autocast("cpu", torch.bfloat16):
        states = model.text_states(ids, batch.references)
        prediction = model.unet(noisy, batch.timesteps, states, return_dict=False)[0]
    snr = a.flatten() / (1 - a.flatten())
    per_example = (prediction.float() - target).pow(2).mean((1, 2, 3))
    return (per_example * SNR_KNEE / (SNR_KNEE + snr)).mean()
