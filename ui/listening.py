"""How handlers are attached to gradio's events, and what a browser remembers."""

from __future__ import annotations

from typing import Any

import gradio as gr

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""No part of the API, and nothing turns while it runs."""
QUIET_AT_ONCE: dict[str, Any] = {**QUIET, "concurrency_limit": None}
"""The same, never waiting for another visitor's."""


def remembered_by_the_browser(key: str, value: Any) -> gr.BrowserState:
    """A value that outlives a reload of the page.

    It is no secret: what gradio encrypts it with by default changes with every start, which would lose it.
    """
    return gr.BrowserState(value, storage_key=key, secret="concept-studio")
