"""The Hub as the app talks to it: a client that never waits for ever, and what its answers mean in words."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any

import httpx2
from huggingface_hub import HfApi, set_client_factory
from huggingface_hub.errors import (
    BucketBatchError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers
from huggingface_hub.utils._http import default_client_factory

from trainer.errors import HubError, HubTrouble
from trainer.machine.disk_errors import is_full
from trainer.quantities import duration

TIMEOUT_S = 45.0
PATIENCE_S = 20.0
"""A longer wait that the Hub asks for is not slept inside a call; the whole step is tried again later."""
_TRIED_AGAIN = (408, 429, 500, 502, 503, 504)
"""After these the client sleeps for as long as the answer says."""
_TOKEN = re.compile(r"\b(hf|api)_[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]+)*")
"""Those that a sign-in gives are JSON Web Tokens, of three parts with dots between."""
_STATUS = re.compile(r"\b(40[123]|429|50[0-9])\b")


class AskedToWait(Exception):
    """The Hub asks for more patience than a call has. Not an HTTP error: those are tried again at once."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"the Hub asks to wait {seconds:.0f} s")


CLIENT_ERRORS = (HfHubHTTPError, httpx2.HTTPError, AskedToWait, OSError, RuntimeError, ValueError, KeyError)
"""What calls of the client raise: hf_xet uses built-in exceptions, and an answer of another form lacks keys."""


def open_hub(token: str | None) -> HfApi:
    """A client of the Hub for this token; None is nobody, never whoever is signed in on this machine."""
    return HfApi(token=token or False)


@contextlib.contextmanager
def hub_errors(*, what: str) -> Generator[None]:
    """Raise what calls of the client raise inside as HubError; `what` names what was asked for."""
    try:
        yield
    except CLIENT_ERRORS as error:
        raise explain(error, what=what) from error


def _open_session() -> httpx2.Client:
    """The client's own sessions have no time-outs on most calls and sleep for as long as the Hub asks."""
    session = default_client_factory()
    hooks = session.event_hooks
    session.event_hooks = {
        "request": [*hooks["request"], _limit],
        "response": [*hooks["response"], _refuse_to_wait_long],
    }
    return session


def _limit(request: httpx2.Request) -> None:
    """Here and not in the session: listings switch its time-outs off."""
    timeout: dict[str, float | None] = request.extensions.get("timeout", {})
    if timeout.get("read") is None:
        request.extensions["timeout"] = httpx2.Timeout(TIMEOUT_S, connect=10.0).as_dict()


def _refuse_to_wait_long(response: httpx2.Response) -> None:
    if response.status_code in _TRIED_AGAIN and (asked := _asked_wait_s(response)) > PATIENCE_S:
        raise AskedToWait(asked)


def _asked_wait_s(response: httpx2.Response) -> float:
    """How long the client would sleep; it heeds the rate limit before Retry-After."""
    limit = parse_ratelimit_headers(response.headers) if response.status_code == 429 else None
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    asked = response.headers.get("Retry-After", "").strip()
    return float(asked) if asked.isdigit() else 0.0


# Every session is bounded, also one that the client opens after a lost connection. As the module is read, before there
# are threads: to change the factory closes the session that another thread may be using.
set_client_factory(_open_session)


@dataclass(frozen=True)
class Account:
    """Whose token it is, what it may do (`read`, `write`, or a finer role), and for whom it may write.

    `managed`: the person, and the organisations in which they may change what is not their own.
    """

    name: str
    role: str
    writable: frozenset[str]
    managed: frozenset[str]

    def check_may_write(self, owner: str) -> None:
        """Raise HubError unless the token may create repositories for `owner`."""
        if self.role == "read":
            raise HubError("This token may only read. Sign in with one that may write.", HubTrouble.forbidden)
        if owner not in self.writable:
            raise HubError(f"Your token may not write to {owner}.", HubTrouble.forbidden)


def read_account(token: str) -> Account:
    """Ask the Hub whose token this is. Raises HubError."""
    client: Any = open_hub(token)  # some of its annotations are open
    with hub_errors(what="your account"):
        answer: dict[str, Any] = client.whoami()
    access: dict[str, Any] = answer.get("auth", {}).get("accessToken", {})
    organisations: list[dict[str, Any]] = answer.get("orgs", [])
    writable = {org["name"] for org in organisations if org.get("roleInOrg", "write") != "read"}
    managed = {org["name"] for org in organisations if org.get("roleInOrg") in ("admin", "write")}
    name: str = answer["name"]
    return Account(name, access.get("role", ""), frozenset(writable | {name}), frozenset(managed | {name}))


def redacted(text: str) -> str:
    """The text with anything that looks like an access token made unreadable."""
    return _TOKEN.sub(lambda match: f"{match[1]}_…", text)


def is_slow(error: Exception) -> bool:
    """Whether the Hub asks for patience or does not answer: then it is not asked again at once."""
    return isinstance(error.__cause__ or error, (AskedToWait, httpx2.TimeoutException))


def explain(error: Exception, *, what: str) -> HubError:
    """What an exception of the client means; `what` names the repository or thing that was asked for."""
    match error:
        case HubError():
            return error
        case AskedToWait():
            return HubError(
                f"The Hub asks to wait {duration(error.seconds)}.", HubTrouble.later, retry_after_s=error.seconds
            )
        case OfflineModeIsEnabled():
            return HubError("This machine is set to work offline (HF_HUB_OFFLINE).", HubTrouble.refused)
        case GatedRepoError():
            return HubError(f"Access to {what} must be granted first: open its page and accept.", HubTrouble.forbidden)
        case BucketBatchError():
            return HubError(f"Some files of {what} were not taken.", HubTrouble.later)
        case HfHubHTTPError():
            status = error.response.status_code
            if isinstance(error, RepositoryNotFoundError) and status != 401:
                return _by_status(404, what)
            return _by_status(status, what, error.server_message or "", error.response.request)
        case httpx2.TimeoutException():
            return HubError(f"The Hub did not answer within {TIMEOUT_S:.0f} s.", HubTrouble.later)
        case httpx2.HTTPError():
            return HubError("The Hub cannot be reached.", HubTrouble.later)
        case RuntimeError(__cause__=(httpx2.HTTPError() | AskedToWait()) as cause):
            return explain(cause, what=what)  # an upload of one file
        case JSONDecodeError() | KeyError():
            return HubError("The Hub's answer is not understood.", HubTrouble.later)
        case OSError() if is_full(error):
            return HubError("The disk of this machine is full.", HubTrouble.later)
        case PermissionError():
            return HubError(f"{error.filename} cannot be read or written on this machine.", HubTrouble.refused)
        case _:
            # hf_xet reports an HTTP status only in the text of a built-in exception
            found = _STATUS.search(str(error))
            if found:
                return _by_status(int(found[1]), what)
            return HubError(f"The exchange with the Hub broke off: {redacted(str(error))}", HubTrouble.later)


def _by_status(status: int, what: str, said: str = "", request: httpx2.Request | None = None) -> HubError:
    """`request`: what was answered so. Where that is not known it was an upload, with a token."""
    match status:
        case 401 if request is not None and "Authorization" not in request.headers:
            # what the Hub tells nobody of a private repository is what it says of one that is not there
            return HubError(
                f"There is no {what} on the Hub, or it is private: then sign in or give a token.", HubTrouble.missing
            )
        case 401:
            return HubError(
                "The Hub does not take your token: it has ended, was revoked or is wrong. Sign in again.",
                HubTrouble.sign_in,
            )
        case 402:
            return HubError("Your account has no credits for this.", HubTrouble.credits)
        case 403 if request is not None and request.method in ("GET", "HEAD"):
            return HubError(f"The Hub does not show {what}: {_quoted(said)}".rstrip(": "), HubTrouble.forbidden)
        case 403:
            return HubError(f"Your token may not write to {what}.", HubTrouble.forbidden)
        case 404:
            return HubError(f"There is no {what} on the Hub that you may see.", HubTrouble.missing)
        case 408 | 409 | 412 | 429:
            return HubError(f"The Hub is busy with {what} ({status}).", HubTrouble.later)
        case _ if status >= 500:
            return HubError(f"The Hub has a problem of its own ({status}).", HubTrouble.later)
        case _:
            return HubError(f"The Hub refused ({status}): {_quoted(said)}".rstrip(": "), HubTrouble.refused)


def _quoted(said: str) -> str:
    return redacted(said)[:300]
