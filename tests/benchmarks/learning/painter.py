"""Draws pictures from plain diffusers files, whoever trained them, and keeps each so that it is not drawn twice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import trainer.engine  # noqa: F401 - quietens the libraries
from tests.benchmarks.learning.files import read_picture, write_picture
from trainer.artifact import EMBEDDING_FILE, LORA_FILE
from trainer.bases import inspect_base
from trainer.concept import ConceptWords
from trainer.engine.attention import choose_attention
from trainer.engine.device import open_compute
from trainer.engine.families import Family, open_family
from trainer.engine.sampling import Prompts, SamplerSettings, sample
from trainer.recipe.choices import Method, Precision
from trainer.recipe.presets import sampler_values


@dataclass(frozen=True)
class Learnt:
    """A trained concept: the folder of its files, and how prompts spell it."""

    folder: Path
    words: ConceptWords


class Painter:
    """A base model, with a concept or without one; loaded when the first picture is wanted.

    `sampler_steps` overrides how many denoiser calls a picture takes.
    """

    def __init__(self, base: Path, learnt: Learnt | None = None, *, sampler_steps: int | None = None) -> None:
        traits = inspect_base(base)
        sampler = SamplerSettings(**sampler_values(starter=traits.starter))
        self._sampler = replace(sampler, steps=sampler_steps) if sampler_steps else sampler
        self._side_px = traits.resolution_px
        self._base, self._learnt = base, learnt
        self._family: Family | None = None

    def draw(self, prompt: str, seeds: Sequence[int], keep: Path) -> list[Image.Image]:
        """One picture a seed, from `keep` where it is there already; `<name>` in the prompt is the concept."""
        files = [keep / f"{_slug(prompt)}-{seed}.png" for seed in seeds]
        missing = [(seed, file) for seed, file in zip(seeds, files, strict=True) if not file.exists()]
        if missing:
            made = self._sample(prompt, [seed for seed, _ in missing])
            for (_, file), picture in zip(missing, made, strict=True):
                write_picture(file, picture)
        return [read_picture(file) for file in files]

    @torch.no_grad()
    def _sample(self, prompt: str, seeds: list[int]) -> list[Image.Image]:
        family = self._family = self._family or _load(self._base, self._learnt)
        spelt = self._learnt.words.spell(prompt) if self._learnt else prompt
        prompts = Prompts(family.encode_prompts([spelt]), family.unconditional())
        return sample(family, prompts, seeds=seeds, size=(self._side_px, self._side_px), sampler=self._sampler)


def _load(base: Path, learnt: Learnt | None) -> Family:
    compute = open_compute(Precision.auto)
    whole = learnt.folder if learnt and learnt.words.method is Method.dreambooth else None
    family = open_family(whole or base, device=compute.device, dtype=compute.dtype)
    choose_attention(family.unet, compute.dtype)
    if learnt and not whole:
        _add(family.pipeline(), learnt)
    return family


def _add(pipeline: Any, learnt: Learnt) -> None:
    if learnt.words.method is Method.dreambooth_lora:
        pipeline.load_lora_weights(str(learnt.folder), weight_name=LORA_FILE, local_files_only=True)
    else:
        file = str(learnt.folder / EMBEDDING_FILE)
        pipeline.load_textual_inversion(file, token=learnt.words.placeholder, local_files_only=True)


def _slug(prompt: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")
