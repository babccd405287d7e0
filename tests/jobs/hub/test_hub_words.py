"""What the Hub's answers and silences mean in words, and which names it takes. No network here."""

from __future__ import annotations

import errno
import socket

import httpx2
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import close_session, get_session

from jobs.hub.client import AskedToWait, _open_session, explain, is_slow, open_hub, redacted
from jobs.publishing.publish import check_repo_id
from trainer.errors import HubError, HubTrouble, RequestError

TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"


def answer(status: int, *, method: str = "POST", token: str | None = TOKEN, said: str = "") -> HfHubHTTPError:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    request = httpx2.Request(method, "http://127.0.0.1/api/models/alice/mug/commit/main", headers=headers)
    response = httpx2.Response(status, request=request)
    return HfHubHTTPError(f"{status} for token {TOKEN}", response=response, server_message=said)


@pytest.mark.fault(30, 33)
@pytest.mark.parametrize(
    ("error", "trouble", "words"),
    [
        (answer(401), HubTrouble.sign_in, "Sign in again"),
        (answer(401, method="GET", token=None), HubTrouble.missing, "no alice/mug .* or it is private: then sign in"),
        (answer(402), HubTrouble.credits, "no credits"),
        (answer(403), HubTrouble.forbidden, "may not write to alice/mug"),
        (answer(403, method="GET", said=f"Disabled. {TOKEN}"), HubTrouble.forbidden, "not show alice/mug: Disabled."),
        (answer(404), HubTrouble.missing, "no alice/mug"),
        (answer(409), HubTrouble.later, "busy"),
        (answer(412), HubTrouble.later, "busy"),
        (answer(429), HubTrouble.later, "busy"),
        (answer(500), HubTrouble.later, r"problem of its own \(500\)"),
        (answer(503), HubTrouble.later, r"problem of its own \(503\)"),
        (answer(418), HubTrouble.refused, "refused"),
        (httpx2.ReadTimeout("slow"), HubTrouble.later, "did not answer"),
        (httpx2.ConnectError("no route"), HubTrouble.later, "cannot be reached"),
        (OfflineModeIsEnabled("offline"), HubTrouble.refused, "offline"),
        (ConnectionError("CAS error: HTTP status client error (403 Forbidden)"), HubTrouble.forbidden, "may not write"),
        (RuntimeError("xet: token refresh failed 401 Unauthorized"), HubTrouble.sign_in, "Sign in again"),
        (KeyError("stage"), HubTrouble.later, "not understood"),
        (OSError(f"broken with {TOKEN}"), HubTrouble.later, "broke off"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), HubTrouble.later, "disk of this machine is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), HubTrouble.refused, "/data/x cannot be read"),
    ],
)
def test_each_answer_has_its_own_words(error: Exception, trouble: HubTrouble, words: str) -> None:
    explained = explain(error, what="alice/mug")
    assert explained.trouble is trouble
    with pytest.raises(HubError, match=words):
        raise explained
    assert TOKEN not in str(explained)


@pytest.mark.fault(29)
def test_long_wait_is_said_and_not_waited_for() -> None:
    explained = explain(AskedToWait(3600), what="alice/mug")
    assert explained.retry_after_s == 3600
    assert "1 h" in str(explained) or "60 min" in str(explained)


@pytest.mark.fault(29)
@pytest.mark.parametrize(
    ("status", "headers", "asked"),
    [
        (429, {"Retry-After": "3600"}, 3600),
        (429, {"ratelimit": '"api";r=0;t=290'}, 290),
        (429, {"ratelimit": '"api";r=0;t=290', "Retry-After": "1"}, 290),  # the client heeds the first
        (429, {"ratelimit": '"api";r=7;t=290', "Retry-After": "60"}, 60),
        (503, {"Retry-After": "60"}, 60),
        (504, {"Retry-After": "60"}, 60),
    ],
)
def test_answer_that_asks_for_much_patience_is_not_slept_on(
    monkeypatch: pytest.MonkeyPatch, status: int, headers: dict[str, str], asked: int
) -> None:
    with pytest.raises(AskedToWait) as caught:
        call_hub(monkeypatch, httpx2.Response(status, headers=headers))
    assert caught.value.seconds == asked


@pytest.mark.parametrize(
    ("status", "headers"),
    [(429, {"ratelimit": '"api";r=0;t=5', "Retry-After": "60"}), (200, {"ratelimit": '"api";r=0;t=290'})],
)
def test_answer_that_asks_for_little_patience_is_left_to_the_client(
    monkeypatch: pytest.MonkeyPatch, status: int, headers: dict[str, str]
) -> None:
    assert call_hub(monkeypatch, httpx2.Response(status, headers=headers)).status_code == status


def call_hub(monkeypatch: pytest.MonkeyPatch, response: httpx2.Response) -> httpx2.Response:
    """One request in a session of the app's own, and this answer to it."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    answers = httpx2.MockTransport(lambda _request: response)
    with _open_session() as session:
        monkeypatch.setattr(session, "_transport_for_url", lambda _url: answers)
        return session.get("http://127.0.0.1/api/models/alice/mug")


@pytest.mark.parametrize(
    ("cause", "words"), [(AskedToWait(3600), "1 h"), (httpx2.ReadTimeout("slow"), "did not answer")]
)
def test_upload_of_one_file_says_why_it_failed(cause: Exception, words: str) -> None:
    error = RuntimeError("Error while uploading 'x' to the Hub.")
    error.__cause__ = cause
    assert words in str(explain(error, what="alice/mug"))
    assert is_slow(error)


@pytest.mark.fault(59)
def test_tokens_become_unreadable() -> None:
    assert redacted(f"before {TOKEN} after") == "before hf_… after"
    signed_in = "hf_oauth_eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiI2MjEifQ.c2lnbmF0dXJl-_x"
    assert redacted(f"Not with {signed_in}. Sign in again.") == "Not with hf_…. Sign in again."


@pytest.mark.parametrize("name", ["alice/red-mug", "a/b", "acme-1/x.y_z", "A/" + "b" * 94])
def test_names_of_the_hub_are_taken(name: str) -> None:
    assert check_repo_id(name) == name


@pytest.mark.fault(47)
@pytest.mark.parametrize(
    "name",
    [
        *("mug", "/mug", "alice/", "alice/a--b", "alice/..", "alice/x.git", "alice/-x", "alice/x-", "alice/a/b"),
        *("alice/mög", "alice/ mug", "alice/" + "b" * 91, "alice/a..b", "../mug", "alice/<script>"),
    ],
)
def test_other_names_are_refused_before_anything_is_asked(name: str) -> None:
    with pytest.raises(RequestError):
        check_repo_id(name)


def test_session_that_follows_a_lost_connection_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("jobs.hub.client.TIMEOUT_S", 0.5)
    close_session()  # what the client does then
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(httpx2.ReadTimeout):
        get_session().get(f"http://127.0.0.1:{silent.getsockname()[1]}/")


def test_new_client_leaves_the_session_open_that_other_threads_use() -> None:
    session = get_session()
    open_hub(None)
    assert get_session() is session
