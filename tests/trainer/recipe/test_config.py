from __future__ import annotations

import pytest

from trainer.errors import RecipeError
from trainer.recipe.build import build_recipe
from trainer.recipe.config import DreamBoothRecipe, TextualInversionRecipe

VALID = {"method": "textual-inversion", "name": "red-mug", "kind": "object", "steps": 10, "learning_rate": 0.01}
VALID |= {"resolution_px": 64}


def problems(**changes: object) -> dict[str, str]:
    with pytest.raises(RecipeError) as raised:
        build_recipe({**VALID, **changes})
    return {problem.field: problem.message for problem in raised.value.problems}


def test_method_decides_the_kind_of_recipe() -> None:
    assert isinstance(build_recipe(VALID), TextualInversionRecipe)
    assert isinstance(build_recipe({**VALID, "method": "dreambooth"}), DreamBoothRecipe)


def test_recipe_is_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        build_recipe(VALID).steps = 20  # type: ignore[misc]


def test_recipe_survives_json() -> None:
    recipe = build_recipe({**VALID, "vectors": 3, "min_snr_gamma": 5})
    assert build_recipe(recipe.model_dump(mode="json")) == recipe


def test_unknown_field_is_refused_by_name() -> None:
    assert problems(vectorz=3) == {"vectorz": "no such field for this method"}


def test_field_of_another_method_is_refused() -> None:
    assert "rank" in problems(rank=4)


@pytest.mark.fault(50)
def test_all_problems_are_named_at_once_even_across_fields() -> None:
    found = problems(steps=-1, learning_rate=1e9, kind="style", class_word="mug", resolution_px=513)
    assert found.keys() == {"steps", "learning_rate", "class_word", "resolution_px"}


@pytest.mark.fault(50)
@pytest.mark.parametrize("steps", [-1, 0, 10**9, float("nan"), "abc"])
def test_impossible_steps_are_refused(steps: object) -> None:
    assert "steps" in problems(steps=steps)


@pytest.mark.fault(50)
@pytest.mark.parametrize("rate", [0, -1, 1e9, float("inf"), float("nan")])
def test_impossible_learning_rate_is_refused(rate: float) -> None:
    assert "learning_rate" in problems(learning_rate=rate)


@pytest.mark.fault(46)
@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "Red",
        "-mug",
        "mug-",
        "mug mug",
        "mug\n",
        "🙂🙂",
        "a" * 41,
        "<script>",
        "{{x}}",
        "---",
        "a--b",
        "a_b",
        "../a",
    ],
)
def test_bad_names_are_refused_with_the_rule(name: str) -> None:
    assert "2 to 40 of a-z" in problems(name=name)["name"]


@pytest.mark.parametrize("name", ["ab", "red-mug", "a-b-c", "7up", "a" * 40])
def test_good_names_are_taken(name: str) -> None:
    assert build_recipe({**VALID, "name": name}).name == name


def test_style_has_no_class_word_and_no_prior() -> None:
    style = {"method": "dreambooth", "kind": "style", "class_word": "", "prior_weight": 1.0}
    assert "prior_weight" in problems(**style)


def test_class_folder_without_weight_is_refused() -> None:
    found = problems(method="dreambooth", class_images_dir="/nowhere")
    assert "not used while prior_weight is 0" in found["class_images_dir"]


def test_mirror_without_a_second_variant_is_refused() -> None:
    assert "not used while variants_per_photo is 1" in problems(mirror=True)["mirror"]
    assert build_recipe({**VALID, "mirror": True, "variants_per_photo": 2})


def test_warmup_must_end_before_the_run() -> None:
    assert "warmup_steps" in problems(warmup_steps=10)


@pytest.mark.fault(46)
def test_class_word_cannot_carry_markup_or_lines() -> None:
    assert "class_word" in problems(class_word="<b>mug</b>")
    assert "class_word" in problems(class_word="mug\nsecond line")


def test_prior_preservation_needs_a_class() -> None:
    recipe = {**VALID, "method": "dreambooth", "prior_weight": 1.0}
    assert "class_word" in problems(**recipe)
    assert build_recipe({**recipe, "class_word": "mug"})
    assert build_recipe({**recipe, "prior_weight": 0.0})


def test_what_tells_a_subject_from_its_background_is_refused_for_a_style() -> None:
    asked = {"name_background": True, "background_weight": 0.3, "plain_background_share": 0.5}
    assert build_recipe({**VALID, **asked}).background_weight == 0.3
    assert problems(**asked, kind="style").keys() == asked.keys()
