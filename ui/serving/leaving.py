"""Lets a reader leave the page, however long the next one takes to come.

Gradio's page ends its own connections as soon as the browser sets out for another page, takes their end for a lost
connection, and reloads itself two seconds later, which calls the journey off: whoever went to sign in at the Hub, and
waited longer for it, was back and signed out (gradio 6.31.0, Index.svelte and Blocks.svelte). The browser ends them
itself when the other page is there, so gradio need not hear that its reader leaves. Listeners of a window hear in the
order in which they came, and gradio's `head` comes after its own, so this script stands in the page that is sent.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEAD = b"<head>"
_SCRIPT = (
    b'<script>window.addEventListener("beforeunload", (event) => event.stopImmediatePropagation(),'
    b" { capture: true });</script>"
)


class LeaveInPeace:
    """Puts the script before all others of the page at `/`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/":
            await self._app(scope, receive, send)
            return
        start: Message = {}

        async def with_script(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message  # waits for the body, which makes it longer
                return
            if start:
                if _HEAD in message.get("body", b""):
                    message["body"] = message["body"].replace(_HEAD, _HEAD + _SCRIPT, 1)
                    headers = MutableHeaders(raw=start["headers"])
                    headers["content-length"] = str(int(headers["content-length"]) + len(_SCRIPT))
                await send(start)
                start = {}
            await send(message)

        await self._app(scope, receive, with_script)
