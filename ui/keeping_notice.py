"""Says on the page what outlives the machine's disk: nothing, or what the mirror keeps and how it is doing."""

from __future__ import annotations

import time

import gradio as gr

from jobs.mirror.keeping import Keeping
from ui.errors import spoken
from ui.html import render
from ui.listening import QUIET_AT_ONCE
from ui.services import Services

_REFRESH_S = 10.0


def draw_keeping_notice(services: Services, page: gr.Blocks) -> None:
    """The notice, here; it follows the mirror where there is one."""
    keeping = services.keeping
    if keeping.mirror is None:
        if words := keeping_html(keeping):
            gr.HTML(words)
        return
    shown = gr.HTML()
    for trigger in (gr.Timer(_REFRESH_S).tick, page.load):
        trigger(spoken(lambda: keeping_html(keeping)), None, shown, **QUIET_AT_ONCE)


def keeping_html(keeping: Keeping) -> str:
    """What there is to say now; nothing on a machine that keeps its own disk and has no mirror."""
    if keeping.mirror is None and keeping.disk_is_kept:
        return ""
    status = keeping.status()
    since = None if status.last_copy is None else time.time() - status.last_copy
    return render("keeping.html", mirror=keeping.mirror, status=status, last_copy_s=since)
