"""The one training loop. It knows neither what is learnt nor on which model line."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from trainer.engine.averaging import Average
from trainer.engine.batches import Batches
from trainer.engine.checkpoint import Checkpoint, Checkpoints, OptimizerState
from trainer.engine.device import Compute
from trainer.engine.failures import is_gpu_full
from trainer.engine.families import Family
from trainer.engine.loss import example_weights, signal_to_noise, weighted_loss
from trainer.engine.methods import ParameterGroup, TrainingMethod
from trainer.engine.noise import KeyedNoise
from trainer.engine.optim import load_states, set_learning_rates
from trainer.engine.preservation import BasePrediction
from trainer.engine.preview import Previews
from trainer.engine.text import TextStates
from trainer.events import Emit, Step, Warned
from trainer.recipe.config import TrainConfig


class LossNotFinite(Exception):
    """The loss or the weights became NaN or infinite by this step."""

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__(f"not finite at step {step}")


class GpuTooSmall(Exception):
    """The GPU's memory ended in this step, which needs less of it with gradient checkpointing."""

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__(f"no memory left at step {step}")


@dataclass
class Training:
    """Everything the loop works with; built by `trainer.engine.run`."""

    recipe: TrainConfig
    compute: Compute
    family: Family
    method: TrainingMethod
    batches: Batches
    noise: KeyedNoise
    text: TextStates
    optimizer: torch.optim.Optimizer
    average: Average
    checkpoints: Checkpoints
    previews: Previews
    emit: Emit
    stop_requested: Callable[[], bool]
    before_step: Callable[[], None]
    base_prediction: BasePrediction | None = None
    rate_scale: float = 1.0
    groups: list[ParameterGroup] = field(init=False)
    parameters: list[torch.nn.Parameter] = field(init=False)

    def __post_init__(self) -> None:
        self.groups = self.method.groups()
        self.parameters = [p for group in self.groups for p in group.parameters]


def train(training: Training, *, start: int) -> int:
    """Train from step `start` to the recipe's last, or until a stop is requested; returns the steps done.

    A step is one optimizer update. After a stop there is a checkpoint of the last step, if any. Raises LossNotFinite
    before anything spoilt is written, and GpuTooSmall.
    """
    recipe = training.recipe
    done = kept = start
    if training.previews.are_due(start) and not training.previews.exist(start):
        training.previews.make(start)  # the picture of before, or one that a stop cut short
    progress = _Progress(training, start)
    while done < recipe.steps and not training.stop_requested():
        training.before_step()
        _update(training, done, progress)
        done += 1

        is_last = done == recipe.steps
        is_checkpoint = recipe.checkpoint_every_steps > 0 and (is_last or done % recipe.checkpoint_every_steps == 0)
        if is_last or is_checkpoint or progress.is_due(done):
            progress.report(done)
        if is_checkpoint:
            write_checkpoint(training, done)
            kept = done
        if training.previews.are_due(done):
            with progress.paused():
                training.previews.make(done)
    if training.stop_requested() and kept != done:
        progress.report(done)
        write_checkpoint(training, done)
    return done


def _update(training: Training, done: int, progress: _Progress) -> None:
    """The step after `done` others. Raises GpuTooSmall where there is no room for it, and can be."""
    recipe, optimizer, accelerator = training.recipe, training.optimizer, training.compute.accelerator
    set_learning_rates(optimizer, training.groups, recipe, done, training.rate_scale)
    try:
        for window in range(recipe.gradient_accumulation):
            loss = forward(training, step=done, number=done * recipe.gradient_accumulation + window)
            accelerator.backward(loss / recipe.gradient_accumulation)
            progress.add(loss)
        accelerator.clip_grad_norm_(training.parameters, recipe.max_grad_norm)
        optimizer.step()
    except RuntimeError as error:
        if recipe.gradient_checkpointing or not is_gpu_full(error):
            raise
        raise GpuTooSmall(done + 1) from error
    optimizer.zero_grad(set_to_none=True)
    training.average.update()


def forward(training: Training, *, step: int, number: int) -> torch.Tensor:
    """The loss of forward pass `number`, a scalar in fp32 with gradients."""
    recipe, family, noise = training.recipe, training.family, training.noise
    batch = training.batches.at(number)
    shape = tuple(batch.mean.shape)
    latents = batch.mean + batch.std * noise.normal(number, "latent", shape)
    timesteps = noise.integers(number, "timestep", family.timesteps, (shape[0],))
    noisy, target = family.noisy_and_target(latents, noise.normal(number, "noise", shape), timesteps)
    weights = example_weights(
        snr=signal_to_noise(family.alphas_cumprod(), timesteps),
        own=batch.own,
        prior_weight=recipe.weight_of_prior,
        min_snr_gamma=recipe.min_snr_gamma,
        prediction=family.prediction,
    )
    with training.compute.accelerator.autocast():
        if training.base_prediction is not None:
            target = training.base_prediction.put_into(target, noisy, timesteps, batch.prompts, batch.own)
        learning = training.method.trains_text(step)
        conditioning = training.text.learning(batch.prompts) if learning else training.text.frozen(batch.prompts)
        prediction = family.predict(noisy, timesteps, conditioning)
    return weighted_loss(prediction, target, weights, batch.own, batch.place_weights)


def write_checkpoint(training: Training, step: int) -> None:
    """Keep everything that the run needs to go on. Raises LossNotFinite where the weights are spoilt."""
    weights = training.method.tensors()
    if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
        raise LossNotFinite(step)
    scaler = training.compute.accelerator.scaler
    state = OptimizerState(training.optimizer.state_dict(), scaler.state_dict() if scaler is not None else None)
    average = training.average.tensors(training.method.tensors)
    training.checkpoints.write(Checkpoint(step, weights, state, average, training.rate_scale))


def load_checkpoint(training: Training, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's state in place. Its rate scale is the run's business: a rewind lowers it."""
    if checkpoint.average:
        with training.average.in_place():
            training.method.load(checkpoint.average)
        training.average.restart(checkpoint.step)
    training.method.load(checkpoint.weights)
    load_states(training.optimizer, checkpoint.optimizer.states, lambda text: training.emit(Warned(text=text)))
    scaler = training.compute.accelerator.scaler
    if scaler is not None and checkpoint.optimizer.scaler is not None:
        scaler.load_state_dict(checkpoint.optimizer.scaler)


class _Progress:
    """Collects losses and times, and reports them; reading a loss waits for the device, so it is done rarely."""

    def __init__(self, training: Training, start: int) -> None:
        self._training, self._start = training, start
        self._losses: list[torch.Tensor] = []
        self._every = max(1, min(10, training.recipe.steps // 100))
        self._began, self._paused = time.monotonic(), 0.0

    @contextmanager
    def paused(self) -> Generator[None]:
        """Time spent inside is waited for, but is not training."""
        began = time.monotonic()
        yield
        self._paused += time.monotonic() - began

    def add(self, loss: torch.Tensor) -> None:
        self._losses.append(loss.detach())

    def is_due(self, done: int) -> bool:
        return done % self._every == 0

    def report(self, done: int) -> None:
        """Emit a step event. Raises LossNotFinite."""
        if not self._losses:
            return
        mean = torch.stack(self._losses).mean().item()
        self._losses.clear()
        if not math.isfinite(mean):
            raise LossNotFinite(done)
        elapsed = max(1e-6, time.monotonic() - self._began)
        total = self._training.recipe.steps
        self._training.emit(
            Step(
                step=done,
                total=total,
                loss=round(mean, 6),
                lr=self._training.optimizer.param_groups[0]["lr"],
                steps_per_second=round((done - self._start) / max(1e-6, elapsed - self._paused), 3),
                eta_s=round((total - done) * elapsed / (done - self._start), 1),
            )
        )
