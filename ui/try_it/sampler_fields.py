"""The Try it page's settings of a picture: how it is sampled, on which base, and from which picture it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from inference.metadata import PictureSettings
from inference.request import MAX_GUIDANCE, MAX_PROMPT, MAX_STEPS, SCHEDULERS
from ui.forms import empty
from ui.try_it.start_picture import StartPicture

_FITTED = ("base", "width", "height", "guidance", "steps", "scheduler")
"""What depends on the base, and follows it unless it was set by hand."""
_IN_A_PICTURE = ("negative_prompt", "seed", "guidance", "steps", "scheduler", "width", "height")


class SamplerFields:
    """Draws the fields; `of` has them by their names in a PictureRequest. `usual` are the first values of some."""

    def __init__(self, usual: Mapping[str, Any]) -> None:
        self.of: dict[str, Component] = {}
        with gr.Accordion("Settings", open=False, elem_id="try-settings"):
            self._draw_settings(usual)
        with gr.Accordion("Start from a picture", open=False, elem_id="try-start") as self.start:
            self.init_image = self.of["init_image"] = StartPicture(
                type="filepath", format="png", label="Picture", height=200, sources=["upload", "clipboard"]
            )
            self.of["strength"] = gr.Slider(
                0.05, 1, 0.6, step=0.05, label="Strength", info="low keeps the picture, high keeps only its layout"
            )

    def _draw_settings(self, usual: Mapping[str, Any]) -> None:
        of = self.of
        of["negative_prompt"] = gr.Textbox("", label="Negative prompt", max_length=MAX_PROMPT, elem_id="try-negative")
        with gr.Row(elem_classes="cs-grid"):
            of["seed"] = gr.Number(empty, label="Seed", info="empty: a new one", precision=0, elem_id="try-seed")
            of["guidance"] = gr.Slider(
                0, MAX_GUIDANCE, usual["guidance"], step=0.5, label="Guidance scale", elem_id="try-guidance"
            )
            of["steps"] = gr.Slider(1, MAX_STEPS, usual["steps"], step=1, label="Steps", elem_id="try-steps")
            of["scheduler"] = gr.Dropdown(
                list(SCHEDULERS), value=usual["scheduler"], label="Scheduler", filterable=False, elem_id="try-scheduler"
            )
            of["width"] = gr.Number(usual["width"], label="Width (px)", precision=0, step=8, elem_id="try-width")
            of["height"] = gr.Number(usual["height"], label="Height (px)", precision=0, step=8, elem_id="try-height")
        self.base = of["base"] = gr.Textbox(usual["base"], label="Base model", elem_id="try-base")
        self.fitted_to = gr.State(dict(usual))  # what was usual when the fields were last set

    @property
    def components(self) -> list[Component]:
        return list(self.of.values())

    @property
    def fitted(self) -> list[Component]:
        """What `fitting` fills."""
        return [*(self.of[name] for name in _FITTED), self.fitted_to]

    def fitting(self, usual: Mapping[str, Any], before: Mapping[str, Any]) -> list[Any]:
        """The fields for another base or other concepts: what is as usual as it was `before` stays as it is now."""
        stays = {name for name in _FITTED if name != "base" and usual[name] == before.get(name)}
        return [*(gr.skip() if name in stays else usual[name] for name in _FITTED), dict(usual)]

    def filled(self, settings: PictureSettings, base: str, usual: Mapping[str, Any]) -> dict[Component, Any]:
        """The fields as a picture was made; `base` is what its base is called here, `usual` what suits it.

        The picture that it was drawn from is not in the file: one that is in the field stays.
        """
        values = {self.of[name]: getattr(settings, name) for name in _IN_A_PICTURE} | {
            self.base: base,
            self.fitted_to: dict(usual),
        }
        started = settings.strength is not None
        return values | ({self.of["strength"]: settings.strength} if started else {self.init_image: None})
