"""What this copy of the app is, what it costs now, and what to press next: a banner on every Space, none elsewhere."""

from __future__ import annotations

from typing import Any

import gradio as gr

from jobs.money.admission import Admission
from jobs.money.deployment import Deployment
from jobs.money.space import NO_SECRET
from jobs.money.spending import Spending
from jobs.record.bill import dollars
from ui.buttons import ACTIONS_JS
from ui.errors import spoken
from ui.html import render
from ui.listening import QUIET_AT_ONCE
from ui.services import Services

_REFRESH_S = 5.0


class SpaceBanner:
    """Drawn where it is made; follows what the treasurer finds out."""

    def __init__(self, services: Services, page: gr.Blocks) -> None:
        self._services, self._spending = services, services.spending
        if self._spending.deployment is Deployment.local:
            return
        shown = gr.HTML(
            banner_html(services.spending, services.admission), elem_id="space-banner", js_on_load=ACTIONS_JS
        )
        drawn = gr.State("")
        for trigger in (gr.Timer(_REFRESH_S).tick, page.load):
            trigger(spoken(self._refresh), drawn, [shown, drawn], **QUIET_AT_ONCE)
        shown.click(spoken(self._keep), None, None, **QUIET_AT_ONCE)  # its only button

    def _keep(self, request: gr.Request) -> None:
        self._services.admit(request)
        self._spending.keep_hardware()
        gr.Info("The hardware is kept, and goes on to cost until you change it in the Space's Settings.")

    def _refresh(self, drawn: str) -> tuple[Any, Any]:
        content = banner_html(self._spending, self._services.admission)
        return (gr.skip(), gr.skip()) if content == drawn else (content, content)


def banner_html(spending: Spending, admission: Admission) -> str:
    """The banner as it is now."""
    state = spending.state()
    price = state.usd_per_hour if state is not None else None
    return render(
        "space_banner.html",
        deployment=spending.deployment.value,
        url=spending.space_url,
        costs=spending.at_stake(),
        machine=state.machine if state is not None else "",
        price=None if price is None else dollars(price),
        sleep_s=state.sleep_s if state is not None else None,
        known=state is not None and state.flavor != "",
        public=state.public if state is not None else None,
        owner_only=admission.owner if admission.is_for_owner_only else "",
        missing="" if spending.has_secret else NO_SECRET,
        trouble=state.trouble if state is not None and state.trouble != NO_SECRET else "",
        release=state.release.note if state is not None else "",
        can_keep=state is not None and state.can_keep,
    )
