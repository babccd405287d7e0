"""How handlers are attached to gradio's events, what a browser remembers, and how often a page looks again."""

from __future__ import annotations

from typing import Any

import gradio as gr

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""No part of the API, and nothing turns while it runs."""
QUIET_AT_ONCE: dict[str, Any] = {**QUIET, "concurrency_limit": None}
"""The same, never waiting for another visitor's."""
POLL_S, CALM_POLL_S = 2.0, 8.0
"""How often to look while something goes on, and otherwise: each look costs a browser some 50 ms of a core."""
RESCUE_POLL_S = 20.0
"""How often to look whatever became of earlier looks: one whose answer was lost holds all later ones back."""


def remembered_by_the_browser(key: str, value: Any) -> gr.BrowserState:
    """A value that outlives a reload of the page.

    It is no secret: what gradio encrypts it with by default changes with every start, which would lose it.
    """
    return gr.BrowserState(value, storage_key=key, secret="concept-studio")


def next_look(*, goes_on: bool) -> gr.Timer:
    """The timer of a page whose content was just drawn."""
    return gr.Timer(POLL_S if goes_on else CALM_POLL_S, active=True)
