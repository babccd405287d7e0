"""Says on the page what outlives the machine's disk: nothing, or what the mirror keeps and how it is doing."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr

from ui.errors import spoken
from ui.html import render
from ui.services import Services

_REFRESH_S = 10.0


class KeepingNotice:
    """One notice, drawn where it is made. On a machine that keeps its own disk and has no mirror there is none."""

    def __init__(self, services: Services, page: gr.Blocks) -> None:
        self._keeping = services.keeping
        if self._keeping.disk_is_kept and self._keeping.mirror is None:
            return
        if self._keeping.mirror is None:
            gr.HTML(self.html())
            return
        shown = gr.HTML()
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
        for trigger in (gr.Timer(_REFRESH_S).tick, page.load):
            trigger(spoken(self.html), None, shown, **quiet)

    def html(self) -> str:
        """The notice as it is now."""
        status = self._keeping.status()
        since = None if status.last_copy is None else time.time() - status.last_copy
        return render("keeping.html", mirror=self._keeping.mirror, status=status, last_copy_s=since)
