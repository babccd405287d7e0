"""What a run learnt, measured against its own base: nothing before training, more after it, the same every time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.engine.conftest import StopAt, go_on, small_recipe
from trainer.concept import first_prompt, words_of
from trainer.engine.cache import EncodedPictures
from trainer.engine.families import Family, open_family
from trainer.engine.methods import TrainingMethod, prepare_method
from trainer.engine.noise import KeyedNoise
from trainer.engine.scores import Scorer, Scores, _denoised, _spread
from trainer.errors import TrainingStopped
from trainer.events import Measured, Phase, PhaseChanged, read_events
from trainer.machine.process import StopKind
from trainer.recipe.config import TrainConfig
from trainer.run_folder import RunFolder

METHODS = {"textual-inversion": 5e-2, "dreambooth-lora": 1e-2, "dreambooth": 1e-3}
CPU = torch.device("cpu")


def opened(base: Path) -> Family:
    return open_family(base, device=CPU, dtype=torch.float32)


def photos() -> EncodedPictures:
    """Latents of eight photos that have much in common."""
    generator = torch.Generator().manual_seed(1)
    common = torch.randn(1, 1, 4, 16, 16, generator=generator)
    own = torch.randn(8, 1, 4, 16, 16, generator=generator)
    return EncodedPictures(common + 0.2 * own, torch.zeros(8, 1, 4, 16, 16), torch.ones(8, 1, 1, 16, 16))


def learn(recipe: TrainConfig, family: Family, method: TrainingMethod, steps: int) -> None:
    """Train on the photos with the concept's own prompt and nothing else."""
    latents, noise = photos().mean[:, 0], KeyedNoise(7, CPU)
    parameters = [p for group in method.groups() for p in group.parameters]
    optimizer = torch.optim.AdamW(parameters, lr=METHODS[recipe.method.value])
    prompt = words_of(recipe).spell(first_prompt(recipe.kind, recipe.name))
    for step in range(steps):
        timesteps = noise.integers(step, "timestep", family.timesteps, (len(latents),))
        noisy, target = family.noisy_and_target(latents, noise.normal(step, "n", tuple(latents.shape)), timesteps)
        told = family.encode_prompts([prompt]).repeated(len(latents))
        (family.predict(noisy, timesteps, told) - target).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def scores_before_and_after(base: Path, method_name: str, steps: int = 12) -> tuple[Scores, Scores]:
    recipe, family = small_recipe(base, method_name), opened(base)
    scorer = Scorer(recipe, family, photos())
    method = prepare_method(recipe, family)
    before = scorer.measure(family)
    learn(recipe, family, method, steps)
    return before, scorer.measure(family)


@pytest.mark.parametrize(
    ("model", "method"), [*(("tiny_model", method) for method in METHODS), ("tiny_v_model", "dreambooth-lora")]
)
def test_training_raises_what_it_knows(model: str, method: str, request: pytest.FixtureRequest) -> None:
    before, after = scores_before_and_after(request.getfixturevalue(model), method)
    assert before.changed_elsewhere == 0
    assert after.knows_subject > before.knows_subject
    assert after.knows_subject > 0
    if method == "textual-inversion":
        assert after.changed_elsewhere == 0  # it adds words and touches nothing else
    else:
        assert after.changed_elsewhere > 0


def test_same_run_scores_the_same(tiny_model: Path) -> None:
    once, again = (scores_before_and_after(tiny_model, "dreambooth-lora", steps=2) for _ in range(2))
    assert once == again


def test_scores_do_not_depend_on_the_batch_size(tiny_model: Path) -> None:
    family = opened(tiny_model)
    singly, together = (
        Scorer(small_recipe(tiny_model, "dreambooth", batch_size=size, preview_count=1), family, photos()).measure(
            family
        )
        for size in (1, 8)  # a pass holds two at least
    )
    assert singly.knows_subject == pytest.approx(together.knows_subject, abs=1e-5)


@pytest.mark.parametrize("model", ["tiny_model", "tiny_v_model"])
def test_perfect_prediction_leads_to_the_same_picture_with_less_noise(
    model: str, request: pytest.FixtureRequest
) -> None:
    family = opened(request.getfixturevalue(model))
    latents, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    noisy, target = family.noisy_and_target(latents, noise, torch.tensor([700, 700]))
    expected, _ = family.noisy_and_target(latents, noise, torch.tensor([500, 500]))
    assert torch.allclose(_denoised(family, noisy, target, 700, 500), expected, atol=1e-4)


@pytest.mark.parametrize(("count", "kept"), [(3, [0, 1, 2]), (8, [0, 2, 4, 6])])
def test_photos_are_taken_evenly_from_the_set(count: int, kept: list[int]) -> None:
    assert _spread(torch.arange(count), 4).tolist() == kept


def test_stop_request_ends_the_asking(tiny_model: Path) -> None:
    def stop() -> None:
        raise TrainingStopped(0)

    with pytest.raises(TrainingStopped):
        Scorer(small_recipe(tiny_model, "dreambooth"), opened(tiny_model), photos(), stop)


def test_style_without_a_class_word_is_measured_too(tiny_model: Path) -> None:
    recipe, family = small_recipe(tiny_model, "dreambooth", kind="style", class_word=""), opened(tiny_model)
    assert Scorer(recipe, family, photos()).measure(family).changed_elsewhere == 0


def test_run_tells_its_scores_once_before_it_exports(
    prepared: Callable[..., RunFolder], tiny_model: Path, cache: Path
) -> None:
    events = go_on(prepared(tiny_model, "textual-inversion", vectors=3), cache)
    places = [number for number, event in enumerate(events) if isinstance(event, Measured)]
    exports = [n for n, event in enumerate(events) if isinstance(event, PhaseChanged) and event.phase is Phase.export]
    assert len(places) == 1
    assert places[0] < exports[0]
    measured = events[places[0]]
    assert isinstance(measured, Measured)
    assert measured.trained_parameters == 3 * 32
    assert measured.peak_memory_bytes > 2**26


def test_run_that_is_stopped_and_kept_tells_its_scores(
    prepared: Callable[..., RunFolder], tiny_model: Path, cache: Path
) -> None:
    run = prepared(tiny_model, "dreambooth-lora", steps=50, preview_every_steps=0)
    with pytest.raises(TrainingStopped):
        go_on(run, cache, StopAt(20, StopKind.keep))
    assert any(isinstance(event, Measured) for event in read_events(run.events_file))
