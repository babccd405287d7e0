"""The concepts to draw with: which, how strong each, and what to write for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component
from markupsafe import Markup

from inference.catalog import aliases_of
from trainer.recipe.choices import Kind
from ui.library.entries import LibraryEntry

MAX_CONCEPTS = 4
NAME = "<[a-z0-9-]+>"
"""A placeholder in a prompt, as a pattern."""
_SUGGESTION = re.compile(
    f"a picture of a house in the style of {NAME}|a photo of {NAME}( next to {NAME})* on a red background"
)


class ConceptFields:
    """Draws the fields. A weight belongs to its concept, and not to its place."""

    def __init__(self) -> None:
        self.picked = gr.Dropdown(
            [],
            multiselect=True,
            max_choices=MAX_CONCEPTS,
            label="Concepts",
            info="one or several; empty tries the base model alone",
            elem_id="try-concepts",
        )
        with gr.Row(elem_classes="cs-weights"):
            self._sliders = [
                gr.Slider(0, 2, 1, step=0.05, label="weight", visible=False, min_width=140, elem_id=f"try-weight-{i}")
                for i in range(MAX_CONCEPTS)
            ]
        self._weighed = gr.State([])  # whose weights the sliders show, in their order
        self._words = gr.HTML(elem_id="try-words", elem_classes="cs-small")

    @property
    def components(self) -> list[Component]:
        """What is read."""
        return [self.picked, *self._sliders, self._weighed]

    @property
    def shown(self) -> list[Component]:
        """What `showing` fills."""
        return [*self._sliders, self._weighed, self._words]

    def weights(self, values: Mapping[Component, Any]) -> list[float]:
        """How strong each picked concept shall be; 1 for one whose slider does not show yet."""
        weight_of = self._weight_of(values)
        return [weight_of.get(job, 1.0) for job in values[self.picked] or []]

    def _weight_of(self, values: Mapping[Component, Any]) -> dict[str, float]:
        """The weights that the sliders show, by concept: another one may be picked before they follow."""
        return dict(zip(values[self._weighed], [float(values[w]) for w in self._sliders], strict=False))

    def showing(self, entries: Sequence[LibraryEntry], values: Mapping[Component, Any]) -> list[Any]:
        """A weight for each picked concept, and what to write for them."""
        weight_of, placeholders = self._weight_of(values), placeholders_of(entries)
        sliders = [
            gr.update(
                visible=not entry.concept.is_whole_model,  # it is the model itself, and has no weight in it
                label=f"weight of {placeholder}",
                value=weight_of.get(entry.job, 1.0),
            )
            for placeholder, entry in zip(placeholders, entries, strict=True)
        ]
        sliders += [gr.update(visible=False)] * (MAX_CONCEPTS - len(sliders))
        return [*sliders, [entry.job for entry in entries], _words(placeholders)]

    def filled(self, choices: list[tuple[str, str]], jobs: list[str], weights: list[float]) -> dict[Component, Any]:
        """These concepts, picked, with these weights."""
        return {
            **dict(zip(self._sliders, weights, strict=False)),
            self._weighed: jobs,
            self.picked: gr.update(choices=choices, value=jobs),
        }


def placeholders_of(entries: Sequence[LibraryEntry]) -> list[str]:
    """What stands for each of these concepts in a prompt that uses them together."""
    return [f"<{alias}>" for alias in aliases_of(entry.manifest.name for entry in entries)]


def _words(placeholders: list[str]) -> str:
    if not placeholders:
        return ""
    codes = Markup(" ").join(Markup("<code>{}</code>").format(p) for p in placeholders)
    return Markup("Write {} in the prompt.").format(codes)


def suggested_prompt(entries: Sequence[LibraryEntry], prompt: str) -> str | None:
    """A first prompt for these concepts; None where they are none, or where a person wrote one of their own."""
    if not entries or (prompt and not _SUGGESTION.fullmatch(prompt)):
        return None
    placeholders = placeholders_of(entries)
    if entries[0].manifest.kind is Kind.style:
        return f"a picture of a house in the style of {placeholders[0]}"
    return f"a photo of {' next to '.join(placeholders)} on a red background"
