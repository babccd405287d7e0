"""Where a job should run: on this machine, or on one rented at Hugging Face. Not drawn where only the first can be."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component

from jobs.remote.offer import RemoteOffer
from ui.errors import spoken
from ui.html import render
from ui.listening import QUIET
from ui.services import Services

REMOTE = "Hugging Face Jobs"


class PlacePanel:
    """The choice; `components` are what a handler must be given to ask `flavor`."""

    def __init__(self, services: Services) -> None:
        self.components: list[Component] = []
        if (remote := services.remote) is None:
            return
        here = f"This machine: {services.device_words}" if services.jobs.fleet.is_alone else "Our own machines"
        self._where = gr.Radio([here, REMOTE], value=here, label="Where should it run?", elem_id="place")
        self._flavor = gr.Dropdown([], label="Machine, at today's price", visible=False, elem_id="flavor")
        self._note = gr.HTML(render("place.html"), visible=False, elem_id="place-note")
        self.components = [self._where, self._flavor]
        self._where.input(spoken(partial(show_machines, remote)), self._where, [self._flavor, self._note], **QUIET)

    def flavor(self, values: Mapping[Component, Any]) -> str | None:
        """The Hub's name of the chosen machine; None for this one."""
        if not self.components or values[self._where] != REMOTE:
            return None
        return values[self._flavor] or ""


def show_machines(remote: RemoteOffer, where: str) -> tuple[Any, Any]:
    """Updates of the machines and the note; prices are read when somebody wants to know them.

    The cheapest machine with a GPU is proposed.
    """
    if where != REMOTE:
        return gr.update(visible=False), gr.update(visible=False)
    flavors = remote.prices.flavors()
    proposed = next((flavor for flavor in flavors if flavor.has_gpu), flavors[0])
    choices = [(flavor.label, flavor.name) for flavor in flavors]
    return gr.update(choices=choices, value=proposed.name, visible=True), gr.update(visible=True)
