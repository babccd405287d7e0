"""A recipe that somebody sends, as a file or by a program, and what they may name in it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from trainer.errors import Problem, RecipeError
from trainer.recipe.choices import STARTER
from trainer.recipe.config import TrainConfig
from trainer.recipe.recipe_file import class_pictures_folder, requested_recipe
from ui.services import Services


def visitors_recipe(services: Services, values: Mapping[str, Any], hub_token: str | None) -> TrainConfig:
    """The recipe of these fields, over the preset for the rest.

    Raises RecipeError, or RequestError for a base or a folder that a visitor may not name.
    """
    if values.get("class_images_dir") is not None and not services.owners.single:
        raise RecipeError([Problem("class_images_dir", "names a folder of this machine, which is not yours")])
    if values.get("class_images_dir"):
        values = {**values, "class_images_dir": class_pictures_folder(str(values["class_images_dir"]))}
    base = services.owners.find_base(
        named_base(values), values.get("base_prediction"), revision=values.get("base_revision")
    )
    recipe = requested_recipe(values, base, partial(services.traits_of, hub_token=hub_token))
    if not base.on_hub:
        return recipe
    return recipe.model_copy(update={"base_revision": services.bases.check(base, hub_token).commit})


def named_base(values: Mapping[str, Any]) -> str:
    """The base that a recipe's fields name."""
    return str(values.get("base") or STARTER)
