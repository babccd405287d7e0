"""Builds a recipe from values of any origin: the form, the command line, a file. Tells all problems at once."""

from __future__ import annotations

import re
from typing import Any

from pydantic import TypeAdapter, ValidationError

from trainer.errors import Problem, RecipeError
from trainer.recipe.choices import NAME_RULE, Kind, Method
from trainer.recipe.config import DreamBoothLoraRecipe, DreamBoothRecipe, TextualInversionRecipe, TrainConfig

_ADAPTER: TypeAdapter[TextualInversionRecipe | DreamBoothLoraRecipe | DreamBoothRecipe] = TypeAdapter(TrainConfig)


def build_recipe(values: dict[str, Any]) -> TrainConfig:
    """Validate `values` into a recipe.

    Raises RecipeError with every problem at once: wrong fields, and what the remaining fields say together.
    """
    problems: list[Problem] = []
    remaining = dict(values)
    while True:
        try:
            recipe = _ADAPTER.validate_python(remaining)
        except RecipeError as error:
            raise RecipeError([*problems, *error.problems]) from None
        except ValidationError as error:
            found = _field_problems(error)
            problems += found
            repaired = _repaired(remaining, {p.field for p in found})
            if repaired == remaining:
                raise RecipeError(problems) from None
            remaining = repaired
            continue
        if problems:
            raise RecipeError(problems)
        return recipe


def _field_problems(error: ValidationError) -> list[Problem]:
    problems: list[Problem] = []
    for entry in error.errors(include_url=False):
        path = [str(part) for part in entry["loc"] if part not in set(Method)]
        field = path[0] if path else "method"
        problems.append(Problem(field, _plain(entry["type"], entry["msg"], field)))
    return problems


def _plain(error_type: str, message: str, field: str) -> str:
    """pydantic's words, in ours where they help nobody."""
    match error_type:
        case "extra_forbidden":
            return "no such field for this method"
        case "missing":
            return "is required"
        case "string_pattern_mismatch" | "string_too_long" if field == "name":
            return f"use {NAME_RULE}"
        case _:
            return re.sub(r"^(Input|Value) should", "should", message)


# Stand in for wrong values of required fields, so that the remaining fields can still be checked against each other.
_STAND_INS = {"name": "name", "kind": Kind.object, "steps": 100_000, "learning_rate": 1e-4, "resolution_px": 512}


def _repaired(values: dict[str, Any], wrong: set[str]) -> dict[str, Any]:
    kept = {key: value for key, value in values.items() if key not in wrong}
    return kept | {key: value for key, value in _STAND_INS.items() if key in wrong}
