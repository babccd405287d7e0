"""Answers only under names that nobody else can point at this machine.

Any website may let its own name lead to 127.0.0.1 once its page is open. To the browser the studio is then a part of
that site, whose scripts could train, publish and read photos as this machine's owner.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from trainer.settings import Owners, Settings


class KnownHosts:
    """Answers 400 to a strange name, where who reaches the page is taken for its owner; an address is never strange.

    On a Space, and where other machines reach the page and each browser is an owner, every name is as good.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._port = app, settings.port
        trusts = settings.on_loopback or (settings.owner_mode is Owners.single and not settings.on_space)
        self._names = {"localhost", (settings.host or "localhost").lower()} if trusts else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._names is None or self._is_known(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
            return
        words = f"This page does not answer to this name. Open it by its address, such as http://127.0.0.1:{self._port}"
        await PlainTextResponse(words, 400)(scope, receive, send)

    def _is_known(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in (self._names or ()) or bool(ip_address(name))
        except ValueError:  # no address, or not even a host
            return False
