"""The Try it page's grid: which two settings vary, and by which values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from inference.grid import Axis, Grid, GridSettings, Varied, build_grid, read_axis
from inference.request import PictureRequest

_SIDES = {"across": "Across", "down": "Down"}
_NOTHING = ("nothing", "")
_NAMES = {
    Varied.seed: "Seed",
    Varied.guidance: "Guidance scale",
    Varied.steps: "Steps",
    Varied.scheduler: "Scheduler",
    Varied.strength: "Strength of the start picture",
    Varied.size: "Size",
    Varied.weight: "Weight of the concepts",
    Varied.concept: "Concept, one at a time",
    Varied.checkpoint: "Checkpoint of the concept",
    Varied.words: "Words in the prompt",
    Varied.prompt: "Whole prompt, one per line",
    Varied.negative_prompt: "Negative prompt, one per line",
}
_HELP = (
    "Choose one or two settings and write their values, such as `2, 4, 8` for the guidance scale: separated by commas "
    "or one per line. For words in the prompt, begin with those that are in it: `red, blue, green` draws a red apple "
    "in three colours. For concepts, an empty field means all that you picked; for checkpoints, which show how a "
    "concept was learnt, all that were kept."
)


class GridFields:
    """Draws the fields; `of` has them by name."""

    def __init__(self) -> None:
        self.of: dict[str, Component] = {}
        with gr.Accordion("Compare in a grid", open=False, elem_id="try-grid"):
            gr.Markdown(_HELP, elem_classes="cs-small")
            for side, label in _SIDES.items():
                with gr.Row(elem_classes="cs-grid"):
                    self.of[side] = gr.Dropdown(
                        [_NOTHING, *((name, varied.value) for varied, name in _NAMES.items())],
                        value="",
                        label=label,
                        filterable=False,
                        elem_id=f"try-grid-{side}",
                    )
                    self.of[f"{side}_values"] = gr.Textbox(
                        "",
                        label="Values",
                        lines=2,  # with one, Enter would begin no new line
                        placeholder="2, 4, 8",
                        max_length=1000,
                        elem_id=f"try-grid-{side}-values",
                    )

    @property
    def components(self) -> list[Component]:
        return list(self.of.values())

    def read(self, values: Mapping[Component, Any], request: PictureRequest) -> Grid | None:
        """The grid that is asked for, if one is. Raises RequestError for one that cannot be drawn."""
        axes = [self._axis(side, values, request) for side in _SIDES]
        across, down = axes if axes[0] else reversed(axes)
        return build_grid(request, GridSettings(across=across, down=down)) if across else None

    def _axis(self, side: str, values: Mapping[Component, Any], request: PictureRequest) -> Axis | None:
        varied, entered = values[self.of[side]], values[self.of[f"{side}_values"]] or ""
        return read_axis(varied, entered, request) if varied else None

    def varies_concept(self, values: Mapping[Component, Any]) -> bool:
        return Varied.concept in (values[self.of[side]] for side in _SIDES)

    def filled(self, grid: GridSettings | None) -> dict[Component, Any]:
        """The fields as a picture of a grid was asked for; empty for any other picture."""
        axes = {"across": grid.across if grid else None, "down": grid.down if grid else None}
        filled: dict[Component, Any] = {}
        for side, axis in axes.items():
            values = axis.values if axis else ()
            parted_by = "\n" if any("," in value for value in values) else ", "
            filled[self.of[side]] = axis.varied.value if axis else ""
            filled[self.of[f"{side}_values"]] = parted_by.join(values)
        return filled
