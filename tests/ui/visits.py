"""Requests of a browser as the web layer sees them, signed in or not."""

from __future__ import annotations

import time
from typing import Any

from ui.owners import COOKIE

COOKIE_VALUE = "0123456789abcdef" * 3
ON_SPACE = {"SYSTEM": "spaces", "SPACE_ID": "alice/studio", "OAUTH_CLIENT_ID": "app", "GRADIO_SERVER_NAME": "0.0.0.0"}


def scope(
    *,
    sub: str | None = None,
    name: str = "somebody",
    token: str = "hf_token",
    expires_in_s: float = 60,
    cookie: str = COOKIE_VALUE,
) -> dict[str, Any]:
    """A request of a browser, signed in as `sub` or not."""
    userinfo = {"sub": sub, "preferred_username": name}
    info = {"userinfo": userinfo, "access_token": token, "expires_at": time.time() + expires_in_s}
    headers = [(b"cookie", f"{COOKIE}={cookie}".encode())]
    return {"type": "http", "headers": headers, "session": {"oauth_info": info} if sub else {}}
