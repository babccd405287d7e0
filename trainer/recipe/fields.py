"""What the fields of a recipe are, read from the recipe itself: for the page's form and `--set`."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from trainer.errors import Problem, RecipeError
from trainer.recipe.choices import Method
from trainer.recipe.config import RECIPES

Choice = Literal["number", "integer", "flag", "choice", "text"]


@dataclass(frozen=True)
class RecipeField:
    """One field: how to ask for it and how to explain it."""

    name: str
    description: str
    unit: str
    advanced: bool
    widget: Choice
    choices: tuple[str, ...]
    optional: bool
    default: Any

    @property
    def label(self) -> str:
        words = self.name.removesuffix("_px").replace("_", " ")
        named = f"{words} ({self.unit})" if self.unit and self.unit not in words else words
        return f"{named[0].upper()}{named[1:]}"


def recipe_fields(method: Method) -> list[RecipeField]:
    """Every field of the method's recipe that a person may set, in the recipe's order."""
    model = RECIPES[method]
    return [_describe(name, info) for name, info in model.model_fields.items() if name != "method"]


def _describe(name: str, info: FieldInfo) -> RecipeField:
    options = [t for t in _alternatives(info.annotation) if t is not NoneType]
    kind = options[0]
    extra = cast("dict[str, Any]", info.json_schema_extra or {})
    choices = tuple(str(member.value) for member in kind) if hasattr(kind, "__members__") else ()
    return RecipeField(
        name=name,
        description=info.description or "",
        unit=str(extra.get("unit", "")),
        advanced=extra.get("group") == "advanced",
        widget=_widget(kind, choices),
        choices=choices,
        optional=NoneType in _alternatives(info.annotation),
        default=None if info.is_required() else info.get_default(),
    )


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _widget(kind: Any, choices: tuple[str, ...]) -> Choice:
    if choices:
        return "choice"
    return {bool: "flag", int: "integer", float: "number"}.get(kind, "text")  # type: ignore[return-value]


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`["steps=300", "min_snr_gamma=5"]` as values; empty means none.

    The value of a text field is taken as it is written, any other is read as a YAML scalar. Raises RecipeError for what
    is not an assignment; unknown fields are found when the recipe is built.
    """
    texts = {field.name for method in Method for field in recipe_fields(method) if field.widget == "text"}
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        field = name.strip()
        if not separator or not field:
            problems.append(Problem(assignment, "write field=value"))
            continue
        try:
            values[field] = (text or None) if field in texts else _number_or_scalar(text)
        except yaml.YAMLError:
            problems.append(Problem(field, f"{text!r} is not a value"))
    if problems:
        raise RecipeError(problems)
    return values


def _number_or_scalar(text: str) -> Any:
    try:
        return float(text) if "e" in text.lower() else yaml.safe_load(text)  # YAML 1.1 reads 1e-4 as a word
    except ValueError:
        return yaml.safe_load(text)
