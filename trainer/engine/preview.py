"""Preview pictures on fixed seeds and one fixed prompt, so that a filmstrip shows learning and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from PIL import Image

from trainer.concept import preview_prompt, preview_seeds, words_of
from trainer.engine.families import Family
from trainer.engine.sampling import MAX_BATCH, Prompts, SamplerSettings, sample
from trainer.events import Emit, Preview
from trainer.recipe.config import TrainConfig
from trainer.run_folder import RunFolder
from trainer.whole_files import opened_whole


class Previews:
    """Makes the previews of one run. `averaged` puts the averaged weights in place while it is entered."""

    def __init__(
        self,
        run: RunFolder,
        recipe: TrainConfig,
        family: Family,
        emit: Emit,
        sampler: SamplerSettings,
        *,
        averaged: Callable[[], AbstractContextManager[None]],
        stop_requested: Callable[[], bool],
    ) -> None:
        self._run, self._recipe, self._family, self._emit, self._sampler = run, recipe, family, emit, sampler
        self._averaged, self._stop_requested = averaged, stop_requested

    def are_due(self, step: int) -> bool:
        """Whether a step is one that has previews: every so many, the first and the last."""
        every = self._recipe.preview_every_steps
        return every > 0 and (step % every == 0 or step == self._recipe.steps)

    def exist(self, step: int) -> bool:
        """Whether all previews of a step are there."""
        return all(file.exists() for file in self._files(step))

    def _files(self, step: int) -> list[Path]:
        return [self._run.preview_file(step, number) for number in range(self._recipe.preview_count)]

    @torch.no_grad()
    def make(self, step: int) -> None:
        """Sample at a step, write step-NNNNNN-K.png and report them; nothing where a stop is requested meanwhile."""
        recipe, family = self._recipe, self._family
        prompt, seeds = words_of(recipe).spell(preview_prompt(recipe)), preview_seeds(recipe)
        pictures: list[Image.Image] = []
        try:
            with self._averaged():
                prompts = Prompts(family.encode_prompts([prompt]), family.unconditional())
                for begin in range(0, len(seeds), MAX_BATCH):
                    pictures += sample(
                        family,
                        prompts,
                        seeds=seeds[begin : begin + MAX_BATCH],
                        size=(recipe.resolution_px, recipe.resolution_px),
                        sampler=self._sampler,
                        step_done=self._give_up_on_stop,
                    )
        except _Interrupted:
            return
        files = self._files(step)
        for file, picture in zip(files, pictures, strict=True):
            with opened_whole(file) as whole:
                picture.save(whole, "PNG")
        self._emit(Preview(step=step, files=[self._run.relative(f) for f in files]))

    def _give_up_on_stop(self, _done: int, _total: int) -> None:
        if self._stop_requested():
            raise _Interrupted


class _Interrupted(Exception):
    """A stop was requested while sampling."""
