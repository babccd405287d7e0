"""What was tried last in a browser: the picked concepts and the prompt. It comes back when the page is opened again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from ui.listening import remembered_by_the_browser


def what_was_tried() -> gr.BrowserState:
    """Where a browser remembers it. To be drawn outside of the tabs: in one that is not open, nothing is read back."""
    return remembered_by_the_browser("studio-tried", tried())


def tried(concepts: Sequence[str] = (), prompt: str = "", owner: str = "") -> dict[str, Any]:
    return {"concepts": list(concepts), "prompt": prompt, "owner": owner}


def is_of_this_version(kept: Any) -> bool:
    """Whether what a browser kept is what this version of the page writes."""
    return isinstance(kept, dict) and kept.keys() == tried().keys()
