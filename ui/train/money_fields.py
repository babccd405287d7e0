"""The fields about money on the Train page, shown only where training costs any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from jobs.record.bill import dollars
from ui.errors import spoken
from ui.forms import empty
from ui.listening import QUIET_AT_ONCE
from ui.services import Services


@dataclass(frozen=True)
class MoneyWish:
    """What was entered: the most that the job may cost in US dollars, and whether the hardware goes back after it."""

    limit_usd: float | None = None
    release: bool = False


class MoneyFields:
    """Draws the fields. Giving the hardware back restarts the Space, so it is only done for whoever asks for it."""

    def __init__(self, services: Services, page: gr.Blocks) -> None:
        self._spending = services.spending
        cap = services.spending.cap_usd
        self._limit = gr.Number(
            label="The most that it may cost, in US dollars",
            info=f"empty: {dollars(cap)}, this Space's limit" if cap is not None else "empty: no limit",
            value=empty,
            minimum=0,
            visible=services.spending.at_stake(),
            elem_id="cost-limit",
        )
        self._release = gr.Checkbox(
            label="When everything is done and safe, give the paid hardware back",
            info="safe: published, or kept in a mirror. The page restarts then, on free hardware.",
            value=False,
            visible=services.spending.at_stake(),
            elem_id="release-hardware",
        )
        page.load(spoken(self._show), None, self.components, **QUIET_AT_ONCE)

    @property
    def components(self) -> list[Any]:
        return [self._limit, self._release]

    def read(self, values: Mapping[Component, Any]) -> MoneyWish:
        """What was entered."""
        return MoneyWish(values[self._limit], bool(values[self._release]))

    def _show(self) -> list[Any]:
        visible = self._spending.at_stake()
        return [gr.update(visible=visible), gr.update(visible=visible)]
