"""What the page says about where presets come from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.bases import STARTER_FOLDER, inspect_base
from trainer.recipe.choices import Kind, Method
from trainer.recipe.evidence import PRACTICE, XL_PRACTICE, evidence_for
from trainer.recipe.presets import preset_values

TI = Method.textual_inversion


def row(**values: object) -> dict[str, object]:
    of_preset = {"side": "ours", "method": TI.value, "group": "drawn", "overrides": "", "field": "steps", "value": 350}
    measured = {"likeness": 0.5, "prompt_following": 0.6, "memorisation_over_limit": -0.1}
    return {**of_preset, **measured, "subjects": ["cactus"], **values}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep on the starter with rows of other methods, groups, sides and overrides among those of one preset."""
    rows = [
        row(value=700),
        row(),
        row(field="learning_rate", value=0.02),
        row(side="theirs"),
        row(method="dreambooth"),
        row(group="style", value=175),
        row(overrides="vectors=4"),
    ]
    identity = inspect_base(STARTER_FOLDER).identity
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps({identity: {"rows": rows, "best": {}}, "another": {"rows": [row(value=1)]}}))
    return file


def test_rows_of_the_preset_are_shown_in_order_and_its_own_value_is_marked(sweep: Path) -> None:
    starter = inspect_base(STARTER_FOLDER)
    found = evidence_for(TI, Kind.object, starter, sweep)
    assert [(each.field, each.value) for each in found.tried] == [
        ("learning_rate", 0.02),
        ("steps", 350),
        ("steps", 700),
    ]
    preset = preset_values(TI, Kind.object, starter)
    assert [each.is_preset for each in found.tried] == [each.value == preset[each.field] for each in found.tried]
    assert [each.value for each in evidence_for(TI, Kind.style, starter, sweep).tried] == [175]


def test_another_base_has_no_rows_of_the_starter(tmp_path: Path, sweep: Path, tiny_model: Path) -> None:
    starter = inspect_base(STARTER_FOLDER)
    assert evidence_for(TI, Kind.object, starter, tmp_path / "none.json").tried == ()
    for traits in (None, inspect_base(tiny_model)):
        found = evidence_for(TI, Kind.object, traits, sweep)
        assert (found.tried, found.practice) == ((), PRACTICE[TI])
    xl = replace(inspect_base(tiny_model), family="stable-diffusion-xl")
    assert evidence_for(TI, Kind.object, xl, sweep).practice == XL_PRACTICE[TI]
