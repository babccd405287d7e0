"""What was entered last comes back when the page is loaded again: words take long to think of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from ui.errors import spoken
from ui.listening import QUIET, remembered_by_the_browser
from ui.services import Services


class RememberedFields:
    """Fields that this browser keeps, each under its name; `kept` is to be given `to_keep` whenever one changed."""

    def __init__(self, services: Services, fields: Mapping[str, Component], page: gr.Blocks) -> None:
        self._owners, self._fields = services.owners, fields
        self.kept = remembered_by_the_browser("studio-entered", {})
        self.restored = gr.State(value=False)
        """Becomes true when a page that opens has what was entered last: before that there is nothing to keep."""
        page.load(spoken(self.restore), self.kept, [*fields.values(), self.restored], **QUIET)

    def to_keep(self, values: Mapping[Component, Any], request: gr.Request) -> dict[str, Any]:
        entered = {name: values[field] for name, field in self._fields.items()}
        return {**entered, "owner": self._owners.of(request)}

    def restore(self, kept: Any, request: gr.Request) -> list[Any]:
        """Values of the fields, if they are of the page as it is now and nobody else's; and that they are restored."""
        known = isinstance(kept, dict) and kept.keys() == {*self._fields, "owner"}
        known = known and self._owners.remembers(kept["owner"], request)
        known = known and all(_can_be_chosen(kept[name], field) for name, field in self._fields.items())
        return [*(kept[name] if known else gr.skip() for name in self._fields), True]


def _can_be_chosen(value: Any, field: Component) -> bool:
    return not isinstance(field, gr.Radio) or value in [choice for _, choice in field.choices]
