"""Who is who, and what they may name: everybody at this machine, whoever signed in with Hugging Face, or each browser.

A browser is known by a random id in a cookie that scripts cannot read; who signs in takes over what the browser had.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import Any

import gradio as gr
from starlette.concurrency import run_in_threadpool
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.record.store import SINGLE_OWNER
from trainer.bases import HUB_ID, BaseReference, base_name, find_base
from trainer.errors import RequestError
from trainer.recipe.choices import STARTER
from trainer.settings import Owners, Settings

log = logging.getLogger(__name__)
COOKIE = "studio_owner"
_YEAR_S = 365 * 24 * 3600
_VALUE = re.compile(r"[0-9a-f]{48}")


class OwnerPolicy:
    """Tells the owner of a request."""

    def __init__(self, settings: Settings) -> None:
        self.single = settings.owner_mode is Owners.single
        self.can_sign_in = settings.can_sign_in and settings.owner_mode is Owners.huggingface
        # in a Space's page the app is a frame of another site, where browsers want exactly these
        self.cookie_attributes = "SameSite=None; Secure; Partitioned" if settings.on_space else "SameSite=Lax"

    def of_cookie(self, value: str | None) -> str | None:
        """The owner that a cookie stands for, or None. The id is the cookie's hash: rows never hold the secret."""
        if self.single:
            return SINGLE_OWNER
        if value is None or not _VALUE.fullmatch(value):
            return None
        return _hashed(value)

    def of_scope(self, scope: Scope) -> str | None:
        """The owner of a request: who signed in, or else the browser."""
        return self.signed_in(scope) or self.of_cookie(cookie_of(scope))

    def signed_in(self, scope: Scope) -> str | None:
        """The owner that a sign-in stands for, whatever the person's name becomes."""
        session = self._session(scope)
        return _hashed(f"huggingface {session['userinfo']['sub']}") if session else None

    def token_of(self, request: gr.Request) -> str | None:
        """The access token of whoever signed in."""
        session = self._session(_scope(request))
        return str(session["access_token"]) if session else None

    def name_of(self, request: gr.Request) -> str | None:
        """What the Hub calls who signed in."""
        session = self._session(_scope(request))
        return session["userinfo"].get("preferred_username") if session else None

    def could_sign_in(self, request: gr.Request) -> bool:
        """Whether a sign-in would show this visitor more than they see now."""
        return self.can_sign_in and self.name_of(request) is None

    def sign_in_lasts_s(self, request: gr.Request) -> float:
        """For how long the sign-in still holds; 0 without one."""
        session = self._session(_scope(request))
        return session["expires_at"] - time.time() if session else 0.0

    def _session(self, scope: Scope) -> dict[str, Any] | None:
        """What gradio keeps of a sign-in, in a signed cookie, while it lasts."""
        session: dict[str, Any] | None = scope.get("session", {}).get("oauth_info") if self.can_sign_in else None
        return session if session and session.get("expires_at", 0) > time.time() else None

    def of(self, request: gr.Request) -> str:
        """The owner of a handler's request. Raises RequestError where the browser keeps no cookies."""
        owner = self.of_scope(_scope(request))
        if owner is None:
            raise RequestError(
                "Your browser blocks this page's cookies, so your photos could not be told from other visitors'. Allow "
                f"cookies and reload the page. A program sends one that it makes up: {COOKIE}={'0' * 48}, with random "
                "hexadecimal digits."
            )
        return owner

    def remembers(self, owner: object, request: gr.Request) -> bool:
        """Whether what the browser remembers of an owner may be shown: to them, or to whoever signed in there since."""
        scope = _scope(request)
        return owner is not None and owner in (self.of_scope(scope), self.of_cookie(cookie_of(scope)))

    def find_base(self, entered: str, prediction: str | None = None, *, revision: str | None = None) -> BaseReference:
        """The base that was typed or pasted. A visitor may name no file of this machine, nor learn whether it is there.

        Raises BaseModelError for what is none, and RequestError for a file or folder on a shared page.
        """
        name = base_name(entered)
        if self.single or name in ("", STARTER):
            return find_base(name, revision, prediction)
        if HUB_ID.fullmatch(name) and (reference := find_base(name, revision, prediction)).on_hub:
            return reference
        raise RequestError("On a shared page a base is the demo model or a Hub id, not a folder or a file.")


def _hashed(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:24]


def _scope(request: gr.Request) -> Scope:
    """The ASGI scope under gradio's request."""
    if request.request is None:
        raise RequestError("This request came without a browser.")
    return request.request.scope


def cookie_of(scope: Scope) -> str | None:
    """The owner cookie of an ASGI request, whatever else of this address's sites is in the header, or in several."""
    sent = [value.decode("latin-1") for name, value in scope.get("headers", []) if name == b"cookie"]
    return cookie_parser("; ".join(sent)).get(COOKIE)  # http.cookies gives all of them up for one that it dislikes


class OwnerCookie:
    """ASGI middleware around the page: gives a browser a cookie, and who signed in what the browser had before."""

    def __init__(self, app: ASGIApp, policy: OwnerPolicy, adopt: Callable[[str, str], None]) -> None:
        self._app, self._policy, self._adopt = app, policy, adopt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/":
            person, browser = self._policy.signed_in(scope), self._policy.of_cookie(cookie_of(scope))
            if person is not None and browser is not None:
                await self._bring_along(browser, person)
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

    async def _bring_along(self, browser: str, person: str) -> None:
        """What a browser had becomes a person's; where that fails, the page is served all the same."""
        try:
            await run_in_threadpool(self._adopt, browser, person)
        except Exception:
            log.exception("what a browser had could not be given to whoever signed in there")
