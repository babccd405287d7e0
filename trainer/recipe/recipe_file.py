"""Recipe files, in YAML: what page, command line and HTTP have in common. Any fields, over the preset for the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from trainer.bases import BaseReference, BaseTraits
from trainer.errors import Problem, RecipeError, RequestError
from trainer.recipe.build import build_recipe
from trainer.recipe.choices import Kind, Method
from trainer.recipe.config import TrainConfig
from trainer.recipe.presets import preset_values

_REQUIRED = ("method", "name", "kind")
LONGEST_RECIPE = 20_000
"""The most characters that a recipe file may have."""


class _PlainLoader(yaml.SafeLoader):
    """Without references: a few lines of them stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):  # pyright: ignore[reportUnknownMemberType]
            raise yaml.YAMLError("references such as *name are not for recipes")
        return super().compose_node(parent, index)


def read_fields(text: str) -> dict[str, Any]:
    """The fields of a recipe file, in YAML. Raises RequestError for another text."""
    if len(text) > LONGEST_RECIPE:
        raise RequestError(f"The recipe is too long: {LONGEST_RECIPE:,} characters is the most.")
    try:
        values: Any = yaml.load(text, _PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # YAML's dates and numbers may be none
        raise RequestError(f"The recipe cannot be read: {_in_one_line(error)}") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in cast("dict[Any, Any]", values)):
        raise RequestError("The recipe is not a list of fields.")
    return cast("dict[str, Any]", values)


def _in_one_line(error: Exception) -> str:
    """YAML's own words take several, with the text and an arrow in them."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        place = f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
        return f"{error.problem} at {place}"
    return " ".join(str(error).split())


def recipe_text(recipe: TrainConfig) -> str:
    """The whole recipe as a file that `read_fields` reads back, and `--recipe` takes."""
    how = f"# python -m trainer train --photos DIR --recipe {recipe.name}.yaml --out RUN_DIR"
    fields = {"method": recipe.method.value, **recipe.model_dump(mode="json", exclude={"method"})}
    return f"{how}\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}"


def check_required(values: Mapping[str, Any], *, prefix: str = "") -> None:
    """Raise RecipeError, which calls fields with `prefix` before their names, unless there is what no preset knows."""
    missing = [Problem(f"{prefix}{field}", "is required") for field in _REQUIRED if field not in values]
    if missing:
        raise RecipeError(missing)


def class_pictures_folder(entered: str) -> Path:
    """The folder from the root on, so that the recipe means the same wherever the run is gone on with."""
    try:
        folder = Path(entered).expanduser().resolve()
        found = folder.is_dir()
    except (OSError, RuntimeError, ValueError):  # no permission, nobody's home, no path at all
        found, folder = False, Path(entered)
    if not found:
        raise RecipeError([Problem("class_images_dir", f"{folder} is not a folder")])
    return folder


def requested_recipe(
    values: Mapping[str, Any], base: BaseReference, inspect: Callable[[BaseReference], BaseTraits]
) -> TrainConfig:
    """The recipe of these fields on this base.

    What is wrong is said before `inspect` is called, which may have to download the base. Raises RecipeError.
    """
    check_required(values)
    method, kind = _member(Method, values["method"]), _member(Kind, values["kind"])
    values = {**values, "method": method, "kind": kind, "base": base.name}
    build_recipe({**preset_values(method, kind, None), **values})
    return build_recipe({**preset_values(method, kind, inspect(base)), **values})


def _member(kind: Any, value: object) -> Any:
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(m.value for m in kind)
        raise RecipeError([Problem(kind.__name__.lower(), f"{value!r} is none of {choices}")]) from None
