"""Acts for the page's own scripts and for programs, never for another website's.

gradio answers scripts of any website, cookies included, wherever it is not reached as `localhost`. Without this, a
page that a visitor has open beside the studio could train, publish and read photos in their name.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class SameOrigin:
    """Answers 403 to what a script or form of another website sends; links to the page, and frames of it, open."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_foreign(scope["method"], Headers(scope=scope)):
            words = "Another website may not use this page. Open it by its own address."
            await PlainTextResponse(words, 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_foreign(method: str, headers: Headers) -> bool:
    """What browsers say of a request, and no script can change.

    Where they do not say which site it is from (plain HTTP to another machine), its origin must be the host that it is
    sent to. Programs say neither.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        opens_the_page = method in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
        return site not in ("same-origin", "none") and not opens_the_page
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
