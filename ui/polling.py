"""HTML that a page looks at again by itself while it is open: often while something goes on, calmly otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from ui.errors import spoken, words_of
from ui.html import render
from ui.listening import QUIET_AT_ONCE

POLL_S, CALM_POLL_S = 2.0, 8.0
"""How often to look while something goes on, and otherwise: each look costs a browser some 50 ms of a core."""
RESCUE_POLL_S = 20.0
"""How often to look whatever became of earlier looks: one whose answer was lost holds all later ones back."""

# A browser answers what it shows by the mark alone: the content of many jobs is long, and a phone's way up is slow.
_SHOWN_MARK_JS = "(shown, ...others) => [((shown || '').match(/^<!--[0-9a-f]+-->/) || [''])[0], ...others]"


class Drawn(NamedTuple):
    """What is to be shown, and whether it changes by itself."""

    content: str
    goes_on: bool
    calmly: bool = False
    """Whether a look now and then is enough for that."""

    @property
    def mark(self) -> str:
        """A comment before the content that stands for it, and for whether to look on."""
        return f"<!--{hashlib.sha256(f'{self.goes_on}{self.content}'.encode()).hexdigest()[:16]}-->"


def drawn_or_trouble(draw: Callable[[gr.Request], Drawn], request: gr.Request) -> Drawn:
    """What is drawn, or why it cannot be: it comes by itself, again and again, so it is no toast."""
    try:
        return draw(request)
    except Exception as error:  # noqa: BLE001 - whatever it is, the page goes on looking
        return Drawn(render("trouble.html", text=words_of(error)), goes_on=False)


class PolledHtml:
    """Shows what `draw` makes of the request and the inputs' values; None leaves everything as it is.

    `draw` is asked again and again, so it must not raise what a person would be told by a toast. One that `rests` is
    not looked at again by itself while nothing goes on.
    """

    def __init__(
        self,
        draw: Callable[..., Drawn | None],
        inputs: Sequence[gr.Dropdown | gr.State] = (),
        *,
        active: bool = True,
        rests: bool = False,
        **html: Any,
    ) -> None:
        self._draw, self._inputs, self._rests = draw, list(inputs), rests
        self.shown = gr.HTML(**html)
        self._mark = gr.State("")
        self._timer = gr.Timer(POLL_S, active=active)
        self._rescue = gr.Timer(RESCUE_POLL_S, active=active)
        self.outputs: list[Any] = [self.shown, self._mark, self._timer, self._rescue]
        """What `update` and `stopped` fill."""
        choices = [choice for choice in self._inputs if isinstance(choice, gr.Dropdown)]
        for trigger in (self._timer.tick, *(choice.input for choice in choices)):
            self.refresh_on(trigger)
        # compared with what the browser itself says that it shows: an answer that was lost was never shown
        rescue = {**QUIET_AT_ONCE, "trigger_mode": "multiple"}
        seen = [self.shown, *self._inputs]
        self._rescue.tick(spoken(self.refresh), seen, self.outputs, js=_SHOWN_MARK_JS, **rescue)

    def refresh_on(self, trigger: Callable[..., Any]) -> None:
        """Look again when something happens, without waiting for the timer."""
        trigger(spoken(self.refresh), [self._mark, *self._inputs], self.outputs, **QUIET_AT_ONCE)

    def refresh(self, request: gr.Request, seen: str, *values: Any) -> tuple[Any, ...]:
        """New content, or nothing where nothing changed: pictures must not flicker."""
        drawn = self._draw(request, *values)
        return (gr.skip(),) * len(self.outputs) if drawn is None or drawn.mark == seen else self.update(drawn)

    def update(self, drawn: Drawn) -> tuple[Any, ...]:
        """Show this, remember that it is shown, and look on."""
        active, mark = drawn.goes_on or not self._rests, drawn.mark
        look = gr.Timer(POLL_S if drawn.goes_on and not drawn.calmly else CALM_POLL_S, active=active)
        return mark + drawn.content, mark, look, gr.Timer(RESCUE_POLL_S, active=active)

    def showing(self, drawn: Drawn) -> dict[Component, Any]:
        """The same for a handler that answers by component."""
        return dict(zip(self.outputs, self.update(drawn), strict=True))

    def stopped(self) -> tuple[Any, ...]:
        """Leave what is shown, and look no more."""
        return gr.skip(), gr.skip(), gr.Timer(POLL_S, active=False), gr.Timer(RESCUE_POLL_S, active=False)
