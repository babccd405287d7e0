from __future__ import annotations

import pytest
from annotated_types import Ge, Gt, Le, Lt

from trainer.errors import RecipeError
from trainer.recipe.build import build_recipe
from trainer.recipe.choices import Method
from trainer.recipe.config import RECIPES
from trainer.recipe.fields import parse_assignments, recipe_fields

PROMISED = {"steps", "seed", "learning_rate", "resolution_px", "batch_size", "min_snr_gamma", "precision"}
PROMISED |= {"checkpoint_every_steps", "preview_every_steps", "keep_checkpoints"}


@pytest.mark.parametrize("method", list(Method))
def test_every_field_is_described_once_with_bounds(method: Method) -> None:
    for field in recipe_fields(method):
        assert field.description.endswith((".", ")")) or "e.g." in field.description, field.name
        if field.widget in ("number", "integer"):
            bounds = RECIPES[method].model_fields[field.name].metadata
            assert any(isinstance(bound, Ge | Gt) for bound in bounds), field.name
            assert any(isinstance(bound, Le | Lt) for bound in bounds), field.name


@pytest.mark.parametrize("method", list(Method))
def test_promised_fields_exist(method: Method) -> None:
    names = {field.name for field in recipe_fields(method)}
    own = {
        Method.textual_inversion: {"vectors", "initializer"},
        Method.dreambooth_lora: {"rank", "text_encoder_share", "prior_weight", "class_images_dir"},
        Method.dreambooth: {"text_encoder_share", "prior_weight", "class_images_dir"},
    }
    assert PROMISED | own[method] <= names


def test_choices_are_the_recipes_own() -> None:
    precision = next(f for f in recipe_fields(Method.dreambooth) if f.name == "precision")
    assert precision.choices == ("auto", "fp32", "bf16", "fp16")


def test_assignments_are_read_as_values() -> None:
    values = parse_assignments(
        ["steps=30", "learning_rate=1e-4", "min_snr_gamma=", "mirror=false", "initializer=a cup"]
    )
    assert values == {
        "steps": 30,
        "learning_rate": 1e-4,
        "min_snr_gamma": None,
        "mirror": False,
        "initializer": "a cup",
    }


def test_words_with_an_e_stay_words() -> None:
    assert parse_assignments(["initializer=red"]) == {"initializer": "red"}


def test_text_is_taken_as_it_is_written() -> None:
    values = parse_assignments(["class_word=no", "preview_prompt=a picture: <mug> # blue"])
    assert values == {"class_word": "no", "preview_prompt": "a picture: <mug> # blue"}


def test_all_malformed_assignments_are_named() -> None:
    with pytest.raises(RecipeError) as raised:
        parse_assignments(["steps", "=3", "seed=[1"])
    assert len(raised.value.problems) == 3


def test_assigned_values_build_a_recipe() -> None:
    values = parse_assignments(["steps=3", "learning_rate=1e-3", "resolution_px=64"])
    assert build_recipe({"method": "dreambooth-lora", "name": "mug", "kind": "object", **values}).learning_rate == 1e-3
