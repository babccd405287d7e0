"""Widgets for the fields of a recipe, made from the recipe itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from trainer.recipe.choices import DEFAULT_CLASS_WORD, Kind, Method
from trainer.recipe.config import TrainConfig
from trainer.recipe.fields import RecipeField, recipe_fields

# Asked for elsewhere on the page.
_NOT_HERE = {"name", "kind", "class_word", "base", "base_revision"}
_OWN_PATHS = {"class_images_dir"}


class RecipeForm:
    """One widget for each field that any method has; those that the chosen method lacks are hidden.

    `method` and `values` are what is shown at first. Paths may be entered where who looks at the page owns the machine.
    """

    def __init__(self, method: Method, values: Mapping[str, Any], *, own_machine: bool = False) -> None:
        not_here = _NOT_HERE if own_machine else _NOT_HERE | _OWN_PATHS
        fields = {f.name: f for method in Method for f in recipe_fields(method) if f.name not in not_here}
        self._of_method = {method: {f.name for f in recipe_fields(method)} for method in Method}
        self.fields = fields
        self._first, self._first_values = method, values
        self.widgets: dict[str, Component] = {}

    def draw(self, names: list[str] | None = None, *, advanced: bool | None = None) -> None:
        """Create the widgets of these fields, here in the layout."""
        for name, field in self.fields.items():
            wanted = name in names if names is not None else field.advanced == advanced
            if wanted and name not in self.widgets:
                value = _shown(self._first_values.get(name, field.default))
                self.widgets[name] = _widget(field, value, visible=name in self._of_method[self._first])

    @property
    def components(self) -> list[Component]:
        return list(self.widgets.values())

    def show(
        self, method: Method, values: Mapping[str, Any], *, before: Method, values_before: Mapping[str, Any]
    ) -> list[Any]:
        """Updates of all widgets for a method with these values, in the order of `components`.

        What is as it was before is left alone, so that no answer undoes what was typed there.
        """
        return [self._change((before, values_before), (method, values), name) for name in self.widgets]

    def _change(
        self, before: tuple[Method, Mapping[str, Any]], after: tuple[Method, Mapping[str, Any]], name: str
    ) -> Any:
        default = self.fields[name].default
        (was_there, was), (is_there, now) = (
            (name in self._of_method[method], _shown(values.get(name, default))) for method, values in (before, after)
        )
        changes: dict[str, Any] = {} if was_there == is_there else {"visible": is_there}
        changes |= {} if was == now else {"value": now}
        return gr.update(**changes) if changes else gr.skip()

    def fill(self, recipe: TrainConfig) -> list[Any]:
        """Updates of all widgets for a recipe that was trained with, in the order of `components`."""
        there = self._of_method[recipe.method]
        return [
            gr.update(value=_shown(getattr(recipe, name) if name in there else field.default), visible=name in there)
            for name, field in ((name, self.fields[name]) for name in self.widgets)
        ]

    def read(self, method: Method, entered: Mapping[str, Any]) -> dict[str, Any]:
        """What was entered for the method's own fields; empty optional fields are None."""
        return {
            name: _entered(self.fields[name], entered[name]) for name in self.widgets if name in self._of_method[method]
        }


def empty() -> None:
    """The value of a number that starts empty. For a plain None gradio's page shows 0, and sends it."""


def class_word_for(kind: str, entered: str | None) -> Any:
    """A kind's own class word in the place of another kind's; what somebody typed stays. A style has none."""
    typed = bool(entered) and entered not in DEFAULT_CLASS_WORD.values()
    return gr.skip() if typed and Kind(kind) is not Kind.style else DEFAULT_CLASS_WORD[Kind(kind)]


def _shown(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else getattr(value, "value", value)


def _entered(field: RecipeField, value: Any) -> Any:
    if value is None or value == "":
        return None if field.optional else "" if field.widget == "text" else value
    if field.widget == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _widget(field: RecipeField, value: Any, *, visible: bool) -> Component:
    common: dict[str, Any] = {
        "label": field.label,
        "info": field.description,
        "elem_id": f"field-{field.name}",
        "min_width": 200,
        "visible": visible,
    }
    match field.widget:
        case "flag":
            return gr.Checkbox(value=bool(value), **common)
        case "choice":
            return gr.Dropdown(choices=list(field.choices), value=value, filterable=False, **common)
        case "text":
            return gr.Textbox(value=value or "", max_length=1000, **common)
        case _:
            start = empty if value is None else value
            return gr.Number(value=start, **common)  # bounds are the recipe's: it says so in words
