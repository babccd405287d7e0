"""Signing in, with the client that gradio uses for it."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any

import httpx2
import pytest
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.starlette_client import OAuth
from huggingface_hub.errors import HfHubHTTPError
from starlette.requests import Request

from tests.hub.accounts import BOB
from tests.hub.fixtures import Client
from tests.hub.local_hub import LocalHub
from tests.hub.sign_in import CLIENT_ID

SCOPES = ("openid", "profile", "contribute-repos")
CALLBACK = "http://127.0.0.1:7860/login/callback?_target_url=/"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


def app_request(session: dict[str, Any], query: str = "") -> Request:
    """A request as it comes to the app's own routes."""
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/login/callback",
            "query_string": query.encode(),
            "headers": [],
            "session": session,
        }
    )


def sign_in(hub: LocalHub, **changes: str) -> dict[str, Any]:
    """Sign in as gradio does: leave for the Hub, come back with a code, exchange it. Returns what the app then has."""
    settings = {**hub.sign_in_environment(SCOPES), **changes}
    oauth = OAuth()
    oauth.register(
        name="huggingface",
        client_id=settings["OAUTH_CLIENT_ID"],
        client_secret=settings["OAUTH_CLIENT_SECRET"],
        client_kwargs={"scope": settings["OAUTH_SCOPES"]},
        server_metadata_url=settings["OPENID_PROVIDER_URL"] + "/.well-known/openid-configuration",
    )
    app: Any = oauth.huggingface
    session: dict[str, Any] = {}
    leaving = asyncio.run(app.authorize_redirect(app_request(session), CALLBACK))
    coming_back = httpx2.get(leaving.headers["location"]).headers["location"]
    assert coming_back.startswith(f"{CALLBACK}&")
    return asyncio.run(app.authorize_access_token(app_request(session, coming_back.split("?", 1)[1])))


def test_app_learns_who_signed_in_and_gets_a_token(hub: LocalHub, client: Client) -> None:
    info = sign_in(hub)
    assert info["userinfo"]["preferred_username"] == "alice"
    assert info["scope"].split() == sorted(SCOPES)
    assert info["expires_in"] == 28800
    assert info["access_token"].startswith("hf_oauth_")
    whoami = client(info["access_token"]).whoami()
    assert (whoami["name"], whoami["auth"]["resource"]["sub"]) == ("alice", CLIENT_ID)
    headers = {"Authorization": f"Bearer {info['access_token']}"}
    user = httpx2.get(f"{hub.url}/oauth/userinfo", headers=headers).json()
    assert (user["preferred_username"], len(user["orgs"])) == ("alice", 3)


def test_visitor_grants_less_for_a_shorter_time(hub: LocalHub, client: Client) -> None:
    hub.seat_visitor("bob", scopes=["openid", "profile"], expires_in_s=3600)
    began = time.time()
    info = sign_in(hub)
    assert info["userinfo"]["preferred_username"] == "bob"
    assert info["scope"] == "openid profile"
    assert info["expires_in"] == 3600
    api = client(info["access_token"])
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo("bob/x")
    assert error.value.response.status_code == 403
    ends = datetime.fromisoformat(api.whoami()["auth"]["expiresAt"]).timestamp()
    assert began + 3599 < ends <= time.time() + 3600


def test_visitor_refuses(hub: LocalHub) -> None:
    hub.seat_visitor(None)
    with pytest.raises(OAuthError, match="access_denied"):
        sign_in(hub)


def test_wrong_client_secret_gets_no_token(hub: LocalHub) -> None:
    with pytest.raises(OAuthError, match="invalid_client"):
        sign_in(hub, OAUTH_CLIENT_SECRET="guess")


def test_code_is_worth_one_token(hub: LocalHub) -> None:
    variables = hub.sign_in_environment()
    query = {"client_id": CLIENT_ID, "response_type": "code", "redirect_uri": CALLBACK, "state": "s"}
    location = httpx2.get(f"{hub.url}/oauth/authorize", params=query).headers["location"]
    code = dict(httpx2.URL(location).params)["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    client = (variables["OAUTH_CLIENT_ID"], variables["OAUTH_CLIENT_SECRET"])
    answers = [httpx2.post(f"{hub.url}/oauth/token", data=form, auth=client) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 400]
    assert answers[1].json() == {"error": "invalid_grant"}


def test_signed_in_app_writes_to_what_it_created_in_an_earlier_sign_in(hub: LocalHub, client: Client) -> None:
    client(sign_in(hub)["access_token"]).create_repo("alice/made")
    api = client(sign_in(hub)["access_token"])
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id="alice/made")
    client(BOB).create_repo("bob/x")
    with pytest.raises(HfHubHTTPError) as error:
        api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id="bob/x")
    assert error.value.response.status_code == 403
