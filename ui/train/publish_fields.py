"""The fields about publishing on the Train page: whether, where to, and for whom to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from ui.listening import QUIET_AT_ONCE
from ui.services import Services


@dataclass(frozen=True)
class PublishWish:
    """Where to, NAME or OWNER/NAME; empty for the concept's name in one's own account."""

    repo: str = ""
    private: bool = True


class PublishFields:
    """Draws the fields, shown only where there can be a token to publish with."""

    def __init__(self, services: Services) -> None:
        can_publish = services.owners.can_sign_in or services.tokens.own is not None
        self._wanted = gr.Checkbox(
            label="When it is done, publish it to the Hugging Face Hub",
            visible=can_publish,
            elem_id="publish-when-done",
        )
        with gr.Row(visible=False, elem_id="publish-where") as where:
            self._repo = gr.Textbox(
                label="Repository",
                placeholder="its name, in your account",
                info="NAME or ORGANISATION/NAME; of two methods each adds its own name",
                max_length=120,
                min_width=180,
                elem_id="publish-repo",
            )
            self._private = gr.Checkbox(value=True, label="Private", min_width=120, elem_id="publish-private")
        self._wanted.change(lambda wanted: gr.update(visible=wanted), self._wanted, where, **QUIET_AT_ONCE)

    @property
    def components(self) -> list[Any]:
        return [self._wanted, self._repo, self._private]

    @property
    def of_one_concept(self) -> list[Component]:
        """What was said of one concept and does not hold for the next."""
        return [self._repo, self._private]

    def for_the_next_concept(self) -> tuple[str, bool]:
        """A repository of its own, and private: that is decided anew for each."""
        return "", True

    def read(self, values: Mapping[Component, Any]) -> PublishWish | None:
        """What was entered; None for one that is not to be published."""
        if not values[self._wanted]:
            return None
        return PublishWish((values[self._repo] or "").strip(), private=bool(values[self._private]))
