"""HTML that a page looks at again by itself while it is open: often while something goes on, calmly otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gradio as gr

from ui.errors import spoken
from ui.events import QUIET_AT_ONCE

POLL_S, CALM_POLL_S = 2.0, 8.0
"""How often to look while something goes on, and otherwise: each look costs a browser some 50 ms of a core."""
RESCUE_POLL_S = 20.0
"""How often to look whatever became of earlier looks: one whose answer was lost holds all later ones back."""


class Drawn(NamedTuple):
    """What is to be shown, and whether it changes by itself."""

    content: str
    goes_on: bool


class PolledHtml:
    """Shows what `draw` makes of the request and the inputs' values; None leaves everything as it is.

    `draw` is asked again and again, so it must not raise what a person would be told by a toast.
    """

    def __init__(
        self,
        draw: Callable[..., Drawn | None],
        inputs: Sequence[gr.Dropdown] = (),
        *,
        active: bool = True,
        **html: Any,
    ) -> None:
        self._draw, self._inputs = draw, list(inputs)
        self.shown = gr.HTML(**html)
        self._drawn = gr.State("")
        self._timer = gr.Timer(POLL_S, active=active)
        self._rescue = gr.Timer(RESCUE_POLL_S, active=active)
        self.outputs: list[Any] = [self.shown, self._drawn, self._timer, self._rescue]
        """What `update` and `stopped` fill."""
        for trigger in (self._timer.tick, *(choice.input for choice in self._inputs)):
            self.refresh_on(trigger)
        # compared with what the browser itself says that it shows: an answer that was lost was never shown
        rescue = {**QUIET_AT_ONCE, "trigger_mode": "multiple"}
        self._rescue.tick(spoken(self.refresh), [self.shown, *self._inputs], self.outputs, **rescue)

    def refresh_on(self, trigger: Callable[..., Any]) -> None:
        """Look again when something happens, without waiting for the timer."""
        trigger(spoken(self.refresh), [self._drawn, *self._inputs], self.outputs, **QUIET_AT_ONCE)

    def refresh(self, request: gr.Request, seen: str, *values: Any) -> tuple[Any, ...]:
        """New content, or nothing where nothing changed: pictures must not flicker."""
        drawn = self._draw(request, *values)
        return (gr.skip(),) * len(self.outputs) if drawn is None or drawn.content == seen else self.update(drawn)

    def update(self, drawn: Drawn) -> tuple[Any, ...]:
        """Show this, remember that it is shown, and look on."""
        look = gr.Timer(POLL_S if drawn.goes_on else CALM_POLL_S, active=True)
        return drawn.content, drawn.content, look, gr.Timer(RESCUE_POLL_S, active=True)

    def stopped(self) -> tuple[Any, ...]:
        """Leave what is shown, and look no more."""
        return gr.skip(), gr.skip(), gr.Timer(POLL_S, active=False), gr.Timer(RESCUE_POLL_S, active=False)
