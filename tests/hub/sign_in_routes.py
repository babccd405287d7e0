"""The OpenID provider behind "Sign in with Hugging Face". Its page asks nothing: the visitor has already decided."""

from __future__ import annotations

import base64
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.hub.accounts import TokenKind
from tests.hub.sign_in import CLIENT_ID, CLIENT_SECRET, Grant, user_info
from tests.hub.state import Hub


class SignInRoutes:
    """The routes of this module."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self.discovery),
            Route("/oauth/authorize", self.authorize),
            Route("/oauth/token", self.token, methods=["POST"]),
            Route("/oauth/userinfo", self.userinfo),
            Route("/oauth/jwks", self.keys),
        ]

    async def discovery(self, _request: Request) -> JSONResponse:
        base = self._hub.base_url
        return JSONResponse(
            {
                "issuer": base,
                "authorization_endpoint": f"{base}/oauth/authorize",
                "token_endpoint": f"{base}/oauth/token",
                "userinfo_endpoint": f"{base}/oauth/userinfo",
                "jwks_uri": f"{base}/oauth/jwks",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            }
        )

    async def authorize(self, request: Request) -> Response:
        asked = request.query_params
        if asked["client_id"] != CLIENT_ID or asked["response_type"] != "code":
            return JSONResponse({"error": "invalid_request"}, 400)
        visitor = self._hub.desk.visitor
        answer = {"state": asked["state"]} if "state" in asked else {}
        if visitor.name is None:
            answer |= {"error": "access_denied", "error_description": "The user refused"}
        else:
            scopes = frozenset(asked.get("scope", "openid profile").split())
            if visitor.scopes is not None:
                scopes &= frozenset(visitor.scopes)
            grant = Grant(visitor, scopes, asked["redirect_uri"], asked.get("nonce"))
            answer["code"] = self._hub.desk.code_for(grant)
        separator = "&" if "?" in asked["redirect_uri"] else "?"
        return RedirectResponse(asked["redirect_uri"] + separator + urlencode(answer), 302)

    async def token(self, request: Request) -> JSONResponse:
        async with request.form() as form:
            fields = {name: str(value) for name, value in form.items()}
        if _client_credentials(request, fields) != (CLIENT_ID, CLIENT_SECRET):
            return JSONResponse({"error": "invalid_client"}, 401)
        grant = self._hub.desk.redeem(fields.get("code", ""))
        if grant is None or grant.redirect_uri != fields.get("redirect_uri"):
            return JSONResponse({"error": "invalid_grant"}, 400)
        visitor = grant.visitor
        assert visitor.name is not None
        token = self._hub.accounts.issue(
            visitor.name, TokenKind.OAUTH, grants=grant.scopes, app=CLIENT_ID, expires_in_s=visitor.expires_in_s
        )
        answer = {
            "access_token": token.value,
            "token_type": "bearer",
            "expires_in": visitor.expires_in_s,
            "scope": " ".join(sorted(grant.scopes)),
        }
        if "openid" in grant.scopes:
            answer["id_token"] = self._hub.desk.id_token(token, grant, self._hub.base_url)
        return JSONResponse(answer)

    async def userinfo(self, request: Request) -> JSONResponse:
        return JSONResponse(user_info(self._hub.accounts.signed_in(request), self._hub.base_url))

    async def keys(self, _request: Request) -> JSONResponse:
        return JSONResponse({"keys": [self._hub.desk.key.as_dict(private=False)]})


def _client_credentials(request: Request, fields: dict[str, str]) -> tuple[str, str]:
    """Who redeems a code: an app may say so in a header or in the form."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        name, _, secret = base64.b64decode(encoded).decode().partition(":")
        return name, secret
    return fields.get("client_id", ""), fields.get("client_secret", "")
