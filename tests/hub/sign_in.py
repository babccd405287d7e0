"""Signing in to an app: who sits before the browser, what they grant, and the codes and ID tokens that prove it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.hub.accounts import Token, object_id

CLIENT_ID: Final = "11111111-2222-3333-4444-555555555555"
CLIENT_SECRET: Final = "oauth_app_secret_made_for_tests"
_EIGHT_HOURS_S: Final = 8 * 3600


@dataclass(frozen=True)
class Visitor:
    """The person who will press the button on the Hub's page. `name` None: they press the other one and refuse."""

    name: str | None = "alice"
    scopes: Collection[str] | None = None
    """What they grant; None: whatever the app asks for."""
    expires_in_s: int = _EIGHT_HOURS_S


@dataclass(frozen=True)
class Grant:
    """What a code can be exchanged for, once."""

    visitor: Visitor
    scopes: frozenset[str]
    redirect_uri: str
    nonce: str | None


@dataclass
class SignInDesk:
    """Where apps send people to."""

    visitor: Visitor = field(default_factory=Visitor)
    _grants: dict[str, Grant] = field(default_factory=dict)

    def code_for(self, grant: Grant) -> str:
        code = secrets.token_urlsafe(16)
        self._grants[code] = grant
        return code

    def redeem(self, code: str) -> Grant | None:
        return self._grants.pop(code, None)

    @cached_property
    def key(self) -> RSAKey:
        """What ID tokens are signed with."""
        return RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256", "kid": "made-for-tests"})

    def id_token(self, token: Token, grant: Grant, issuer: str) -> str:
        """A signed statement of whoever signed in."""
        now = int(time.time())
        claims = {
            **_profile(token, issuer),
            "iss": issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 3600,
            "auth_time": now,
        }
        if grant.nonce:
            claims["nonce"] = grant.nonce
        return jwt.encode({"alg": "RS256", "kid": "made-for-tests"}, claims, self.key)


def user_info(token: Token, hub_url: str) -> dict[str, Any]:
    """Who holds a token, with all that an app may ask the Hub about them."""
    user = token.user
    organisations = [
        {
            "sub": object_id(name),
            "name": name.title(),
            "preferred_username": name,
            "picture": f"{hub_url}/avatars/{name}.svg",
            "roleInOrg": role,
        }
        for name, role in user.organisations.items()
    ]
    return {**_profile(token, hub_url), "isPro": user.pays, "canPay": user.pays, "orgs": organisations}


def _profile(token: Token, hub_url: str) -> dict[str, Any]:
    """What an ID token tells. No more: apps keep it in a cookie, and browsers drop cookies above 4 KB."""
    name = token.user.name
    return {
        "sub": object_id(name),
        "name": name.title(),
        "preferred_username": name,
        "profile": f"{hub_url}/{name}",
        "picture": f"{hub_url}/avatars/{name}.svg",
        "website": "",
    }
