"""One run from its folder to its verified artifact. What `python -m trainer train` and `resume` do after intake."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL import Image

from trainer.artifact import describe_artifact
from trainer.bases import find_base, inspect_base, knows_word
from trainer.concept import words_of
from trainer.engine.attention import choose_attention
from trainer.engine.averaging import Average
from trainer.engine.base.files import base_folder, with_commit
from trainer.engine.batches import Batches, PlainPictures, PriorPictures, prompts_of, prompts_of_photos
from trainer.engine.cache import encode_class_pictures, encode_photos, encode_pictures
from trainer.engine.checkpoint import Checkpoints, newest_step
from trainer.engine.context import RunContext, bring_base, stop_before_training, stop_run
from trainer.engine.device import Compute, open_compute
from trainer.engine.export.write import export_artifact, verify_artifact
from trainer.engine.families import Family, keep_only_trained, open_family
from trainer.engine.loop import GpuTooSmall, LossNotFinite, Training, load_checkpoint, train
from trainer.engine.methods import TrainingMethod, prepare_method
from trainer.engine.methods.lora import Lora
from trainer.engine.noise import KeyedNoise
from trainer.engine.optim import build_optimizer
from trainer.engine.preservation import BasePrediction
from trainer.engine.preview import Previews
from trainer.engine.prior import class_pictures, class_prompt
from trainer.engine.sampling import SamplerSettings
from trainer.engine.scores import Scorer
from trainer.engine.text import TextStates, fit_captions
from trainer.engine.versions import library_versions
from trainer.errors import RequestError, TrainingError
from trainer.events import Emit, Finished, Measured, Phase, PhaseChanged, Started, Warned
from trainer.machine.process import StopKind
from trainer.photos.checkup import MIN_PHOTOS
from trainer.photos.intake import PhotoSet, read_dataset
from trainer.photos.plain_backgrounds import cut_outs
from trainer.recipe.config import DreamBoothLoraRecipe, DreamBoothRecipe, TextualInversionRecipe, TrainConfig
from trainer.recipe.presets import sampler_values
from trainer.run_folder import RunFolder

log = logging.getLogger(__name__)
MAX_REWINDS = 3


def run_training(run: RunFolder, context: RunContext) -> None:
    """Train, export and verify; goes on from the newest whole checkpoint.

    Raises TrainingStopped after a requested stop, TrainingError or RequestError where it cannot go on.
    """
    context.emit(PhaseChanged(phase=Phase.prepare))
    recipe, photos = run.read_recipe(), read_dataset(run.photos)
    if len(photos.usable) < MIN_PHOTOS:
        raise RequestError(f"At least {MIN_PHOTOS} photos are needed; {len(photos.usable)} can be used.")
    base = find_base(recipe.base, recipe.base_revision, recipe.base_prediction)
    compute = open_compute(recipe.precision)  # before an hour of downloading: it may be refused
    folder = bring_base(run, base, context)
    recipe = with_commit(recipe, folder)
    run.write_recipe(recipe)
    if not isinstance(recipe, TextualInversionRecipe) and knows_word(folder, recipe.name):
        context.emit(Warned(text=f"“{recipe.name}” is a word that the base knows; its old meaning will shine through."))
    work = _Work(run, context, recipe, photos, folder, compute)
    rewinds = 0
    while True:
        began = time.monotonic()  # what was downloaded or given up says nothing of how long the next run takes
        try:
            work.run_once(0.5**rewinds)
            break
        except LossNotFinite as error:
            _announce_rewind(context.emit, error.step, final=rewinds == MAX_REWINDS)
            rewinds += 1
        except GpuTooSmall as error:
            work.spare_memory(error.step)
    context.emit(Finished(artifact=run.relative(run.artifact), seconds=round(time.monotonic() - began, 1)))


def verify_run(run: RunFolder, cache: Path) -> Image.Image:
    """Check a finished run again: hashes, load, picture, which is returned.

    Raises ConceptError or VerificationError.
    """
    return verify_artifact(
        run, lambda m: base_folder(find_base(m.base.name, m.base.revision, m.base.prediction), cache)
    )


def _announce_rewind(emit: Emit, step: int, *, final: bool) -> None:
    if final:
        raise TrainingError(
            f"The loss became infinite at step {step}, {MAX_REWINDS + 1} times.",
            "Train again with a lower learning rate.",
        )
    emit(Warned(text=f"The loss became infinite at step {step}. Going on from before that, half as fast."))


class _Work:
    """The parts of a run that do not change when it is rewound."""

    def __init__(
        self, run: RunFolder, context: RunContext, recipe: TrainConfig, photos: PhotoSet, folder: Path, compute: Compute
    ) -> None:
        self.run, self.context, self.recipe, self.photos = run, context, recipe, photos
        self.folder, self.traits, self.compute = folder, inspect_base(folder), compute
        self.checkpoints = Checkpoints(run, context.emit, keep=recipe.keep_checkpoints)
        self._first_rate_scale: float | None = None
        self._said: set[str] = set()

    def run_once(self, slower: float) -> None:
        """From freshly loaded parts to the artifact. After LossNotFinite and GpuTooSmall, parts must be loaded afresh.

        `slower` is what the learning rate is multiplied by, compared with the first time.
        """
        self.compute.accelerator.free_memory()  # it keeps the optimizer of a run that was rewound
        self.compute.forget_peak()
        checkpoint = self.checkpoints.newest()
        start = checkpoint.step if checkpoint else 0
        if self._first_rate_scale is None:
            self._first_rate_scale = checkpoint.rate_scale if checkpoint else 1.0
        family = open_family(self.folder, device=self.compute.device, dtype=self.compute.dtype)
        self._announce(choose_attention(family.unet, self.compute.dtype).name, start)
        training, scorer = self._prepare(family, start)
        training.rate_scale = self._first_rate_scale * slower
        if checkpoint is not None:
            load_checkpoint(training, checkpoint)
        del checkpoint  # as large as the optimizer
        self.context.emit(PhaseChanged(phase=Phase.train, done=start, total=self.recipe.steps))
        steps = train(training, start=start)
        if self.context.stop.kind is StopKind.checkpoint or steps == 0:  # there is nothing to keep of no step
            stop_run(self.run, self.context, steps)
        method, average = training.method, training.average
        del training  # verification opens a second copy of the model: there must be room
        self.compute.accelerator.free_memory()
        average.stay()
        self._measure(scorer, family, method)
        keep_only_trained(family)
        self.compute.accelerator.free_memory()
        export_artifact(
            self.run,
            method,
            lambda folder: describe_artifact(
                self.recipe,
                folder,
                self.traits.identity,
                steps=steps,
                versions=library_versions(),
                family=self.traits.family,
            ),
            base=family.folder,
            device=self.compute.device,
            emit=self.context.emit,
        )
        if steps < self.recipe.steps:
            stop_run(self.run, self.context, steps)

    def spare_memory(self, step: int) -> None:
        """After GpuTooSmall, which is raised once at most: gradient checkpointing from now on, in later starts, too."""
        self.recipe = self.recipe.model_copy(update={"gradient_checkpointing": True})
        self.run.write_recipe(self.recipe)
        kept = newest_step(self.run)
        how = f"{f'Going on from step {kept}' if kept else 'Beginning again'} with gradient checkpointing"
        self._warn(f"The GPU's memory was too small for step {step}. {how}, which takes longer.")

    def _announce(self, attention: str, start: int) -> None:
        self.context.emit(
            Started(
                recipe=self.recipe.model_dump(mode="json"),
                device=self.compute.name,
                attention=attention,
                precision=self.compute.precision.value,
                versions=library_versions(),
                resumed_from=start,
            )
        )

    def _measure(self, scorer: Scorer, family: Family, method: TrainingMethod) -> None:
        scores = scorer.measure(family)
        self.context.emit(
            Measured(
                knows_subject=round(scores.knows_subject, 4),
                changed_elsewhere=round(scores.changed_elsewhere, 4),
                trained_parameters=sum(p.numel() for group in method.groups() for p in group.parameters),
                peak_memory_bytes=self.compute.peak_memory_bytes,
            )
        )

    def _prepare(self, family: Family, start: int) -> tuple[Training, Scorer]:
        """Everything that the loop works with. Class pictures and scorer first: they need the untouched base."""
        recipe, context = self.recipe, self.context
        prior = self._class_pictures(family, start)
        own = encode_photos(self.run.photos, self.photos, recipe, family, self._counter(Phase.cache, start))
        plain = self._on_plain_colours(family, start)
        scorer = Scorer(recipe, family, own, partial(self._look_for_stop, start))
        noise = KeyedNoise(recipe.seed, self.compute.device)
        method, base_prediction = prepare_method(recipe, family), None
        if isinstance(method, Lora) and method.recipe.preserves_by_prediction:
            base_prediction = BasePrediction(family, method.untrained)
            prior = PriorPictures(own, class_prompt(recipe.class_word))
        prompts = self._fitted(prompts_of_photos(self.run.photos, self.photos, recipe), family)
        if plain is not None:  # only now does the tokenizer know a concept's own words
            plain = replace(plain, prompts=self._fitted(plain.prompts, family))
        groups = method.groups()
        optimizer = build_optimizer(recipe, groups, self._warn)
        average = Average(groups, recipe.ema_decay)
        training = Training(
            recipe=recipe,
            compute=self.compute,
            family=family,
            method=method,
            batches=Batches(recipe, prompts, own, prior, noise, plain),
            noise=noise,
            text=TextStates(family),
            optimizer=self.compute.accelerator.prepare_optimizer(optimizer),
            average=average,
            checkpoints=self.checkpoints,
            previews=Previews(
                self.run,
                recipe,
                family,
                context.emit,
                SamplerSettings(**sampler_values(starter=self.traits.starter)),
                averaged=average.in_place,
                stop_requested=context.stop.requested,
            ),
            emit=context.emit,
            stop_requested=context.stop.requested,
            before_step=context.before_step,
            base_prediction=base_prediction,
        )
        return training, scorer

    def _on_plain_colours(self, family: Family, start: int) -> PlainPictures | None:
        recipe = self.recipe
        if not recipe.plain_background_share:
            return None
        found = list(cut_outs(self.run.photos, self.photos, size_px=recipe.resolution_px))
        if not found:
            self._warn("No subject is shown on plain colours: in no photo without a caption could it be told apart.")
            return None
        encoded = encode_pictures([f.picture for f in found], family, self._counter(Phase.cache, start))
        return PlainPictures(encoded, [prompts_of(None, recipe, background=f.colour) for f in found])

    def _fitted(self, prompts: list[list[str]], family: Family) -> list[list[str]]:
        words, tokenizer = words_of(self.recipe).trained_words, family.tokenizers["text_encoder"]
        return fit_captions(prompts, words, tokenizer, self._warn)

    def _warn(self, text: str) -> None:
        """Once is enough: photos and their cut-outs may have the same fault, and a run that is rewound has it again."""
        if text not in self._said:
            self._said.add(text)
            self.context.emit(Warned(text=text))

    def _class_pictures(self, family: Family, start: int) -> PriorPictures | None:
        recipe = self.recipe
        if not isinstance(recipe, DreamBoothLoraRecipe | DreamBoothRecipe) or not recipe.trains_on_class_pictures:
            return None
        counter = self._counter(Phase.class_images, start)
        files = class_pictures(
            recipe, family, self.traits, self.context.cache, counter, partial(self._look_for_stop, start)
        )
        encoded = encode_class_pictures(files, recipe.resolution_px, family, self._counter(Phase.cache, start))
        return PriorPictures(encoded, class_prompt(recipe.class_word))

    def _counter(self, phase: Phase, start: int) -> Callable[[int, int], None]:
        """Reports the progress of a phase before training, and ends it where a stop is requested."""

        def counted(done: int, total: int) -> None:
            self.context.emit(PhaseChanged(phase=phase, done=done, total=total))
            self._look_for_stop(start)

        return counted

    def _look_for_stop(self, start: int) -> None:
        stop_before_training(self.run, self.context, start)
