"""Who is who: everybody at this machine, or each browser by a random id in a cookie that scripts cannot read."""

from __future__ import annotations

import hashlib
import re
import secrets
from http.cookies import CookieError, SimpleCookie

import gradio as gr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trainer.errors import RequestError
from trainer.settings import Owners, Settings

COOKIE = "studio_owner"
SINGLE_OWNER = "me"
_YEAR_S = 365 * 24 * 3600
_VALUE = re.compile(r"[0-9a-f]{48}")


class OwnerPolicy:
    """Tells the owner of a request."""

    def __init__(self, settings: Settings) -> None:
        self._single = settings.owner_mode is Owners.single
        # in a Space's page the app is a frame of another site, where browsers want exactly these
        self.cookie_attributes = "SameSite=None; Secure; Partitioned" if settings.on_space else "SameSite=Lax"

    @property
    def single(self) -> bool:
        return self._single

    def of_cookie(self, value: str | None) -> str | None:
        """The owner that a cookie stands for, or None. The id is the cookie's hash: rows never hold the secret."""
        if self._single:
            return SINGLE_OWNER
        if value is None or not _VALUE.fullmatch(value):
            return None
        return hashlib.sha256(value.encode()).hexdigest()[:24]

    def of(self, request: gr.Request) -> str:
        """The owner of a handler's request. Raises RequestError where the browser keeps no cookies."""
        owner = self.of_cookie(dict(request.cookies).get(COOKIE))
        if owner is None:
            raise RequestError(
                "This browser keeps no cookies for this page, so nothing could be called yours. Allow them."
            )
        return owner


def cookie_of(scope: Scope) -> str | None:
    """The owner cookie of an ASGI request."""
    for name, value in scope.get("headers", []):
        if name == b"cookie":
            try:
                morsel = SimpleCookie(value.decode("latin-1")).get(COOKIE)
            except CookieError:
                return None
            return morsel.value if morsel else None
    return None


class OwnerCookie:
    """ASGI middleware: gives a browser without a valid cookie a new one with the page."""

    def __init__(self, app: ASGIApp, policy: OwnerPolicy) -> None:
        self._app, self._policy = app, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        needs_cookie = scope["type"] == "http" and scope["path"] == "/" and not self._policy.single
        if not needs_cookie or self._policy.of_cookie(cookie_of(scope)) is not None:
            await self._app(scope, receive, send)
            return
        cookie = (
            f"{COOKIE}={secrets.token_hex(24)}; Path=/; Max-Age={_YEAR_S}; HttpOnly; {self._policy.cookie_attributes}"
        )

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"set-cookie", cookie.encode())]
            await send(message)

        await self._app(scope, receive, send_with_cookie)
