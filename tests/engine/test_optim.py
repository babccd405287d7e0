"""Schedules, and the optimizer with its states."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

from tests.engine.conftest import small_recipe
from trainer.engine.methods import ParameterGroup
from trainer.engine.optim import build_optimizer, learning_rate_factor, load_states, set_learning_rates


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_schedules_start_full_and_end_where_they_should(tiny_model: Path, schedule: str) -> None:
    recipe = small_recipe(tiny_model, "dreambooth", steps=100, schedule=schedule, warmup_steps=10)
    factors = [learning_rate_factor(recipe, step) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10] == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(1.0 if schedule == "constant" else 0.0, abs=0.02)


def test_group_whose_steps_are_over_stands_still(tiny_model: Path) -> None:
    recipe = small_recipe(tiny_model, "dreambooth")
    one, two = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    groups = [ParameterGroup([one], 0.1, 6), ParameterGroup([two], 0.1, 2)]
    optimizer = build_optimizer(recipe, groups, lambda text: pytest.fail(text))
    for step in range(4):
        set_learning_rates(optimizer, groups, recipe, step, 1.0)
        (one.sum() + two.sum()).backward()
        before = two.detach().clone()
        optimizer.step()
        optimizer.zero_grad()
    assert torch.equal(two, before)
    assert not torch.equal(one, two)


def test_8bit_optimizer_runs_or_says_that_it_does_not(tiny_model: Path) -> None:
    recipe = small_recipe(tiny_model, "dreambooth", optimizer="adamw-8bit")
    said: list[str] = []
    optimizer = build_optimizer(recipe, [ParameterGroup([torch.nn.Parameter(torch.ones(8))], 0.1, 6)], said.append)
    assert ("8bit" in type(optimizer).__name__) != bool(said)


def test_8bit_optimizer_goes_on_with_the_states_of_its_checkpoint(tiny_model: Path) -> None:
    recipe = small_recipe(tiny_model, "dreambooth", optimizer="adamw-8bit")
    parameters = [torch.nn.Parameter(torch.ones(size)) for size in (4096, 8)]  # the small one has 32-bit states
    groups = [ParameterGroup(parameters, 0.1, 6)]
    said: list[str] = []
    first = build_optimizer(recipe, groups, said.append)
    if said:
        pytest.skip(said[0])
    for step in range(3):
        if step == 2:  # a resumed run: from the file, into an optimizer that knows nothing yet
            file = io.BytesIO()
            torch.save(first.state_dict(), file)
            file.seek(0)
            before = [parameter.detach().clone() for parameter in parameters]
        sum(parameter.square().sum() for parameter in parameters).backward()
        first.step()
        first.zero_grad()
    uninterrupted = [parameter.detach().clone() for parameter in parameters]
    for parameter, value in zip(parameters, before, strict=True):
        parameter.data.copy_(value)
    second = build_optimizer(recipe, groups, pytest.fail)
    load_states(second, torch.load(file, weights_only=True), pytest.fail)
    sum(parameter.square().sum() for parameter in parameters).backward()
    second.step()
    assert all(torch.equal(*pair) for pair in zip(parameters, uninterrupted, strict=True))
