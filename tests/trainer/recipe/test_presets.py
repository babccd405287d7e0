from __future__ import annotations

from pathlib import Path

import pytest

from inference.request import SCHEDULERS
from trainer.bases import BaseTraits
from trainer.recipe.choices import Kind, Method
from trainer.recipe.presets import preset_recipe, sampler_values

STARTER = BaseTraits("stable-diffusion", 128, "v_prediction", "x", starter=True)
FULL = BaseTraits("stable-diffusion", 512, "epsilon", "y")


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("traits", [STARTER, FULL, None])
def test_every_preset_is_a_whole_recipe(method: Method, kind: Kind, traits: BaseTraits | None) -> None:
    recipe = preset_recipe(method, kind, traits, name="red-mug")
    assert recipe.method is method
    assert recipe.kind is kind
    assert (recipe.class_word == "") == (kind is Kind.style)
    assert recipe.resolution_px == (traits.resolution_px if traits else 512)


@pytest.mark.parametrize("kind", [Kind.person, Kind.object])
@pytest.mark.parametrize("traits", [STARTER, FULL])
def test_photos_are_shown_as_they_are(kind: Kind, traits: BaseTraits) -> None:
    recipe = preset_recipe(Method.dreambooth, kind, traits, name="anna")
    assert recipe.variants_per_photo == 1
    assert not recipe.mirror


def test_overrides_win_over_the_preset() -> None:
    assert preset_recipe(Method.textual_inversion, Kind.pet, STARTER, name="rex", steps=7, vectors=2).vectors == 2


def test_samplers_of_presets_are_known() -> None:
    assert {sampler_values(starter=s)["scheduler"] for s in (True, False)} <= set(SCHEDULERS)


def test_presets_need_no_files() -> None:
    assert not Path("class_images").exists()
