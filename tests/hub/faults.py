"""Failures to order, and a journal of every request: an ASGI application around the Hub's own."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.hub.refusals import refusal_response

FOREVER: Final = 1_000_000
CONTROL: Final = "/control/"
"""Where tests command the Hub; such requests neither fail nor show up in the journal."""
KEY_HEADER: Final = "X-Control-Key"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is to go wrong with the next `times` requests of which `match` is found in "METHOD /path"."""

    match: str
    times: int = 1
    revoke: str | None = None
    """Revoke this token first."""
    hang_s: float = 0.0
    """Wait before anything else is done, for so long or until the faults are cleared."""
    cut_request_after: int | None = None
    """Drop the connection when that many bytes of the request's body have come in."""
    cut_response_after: int | None = None
    """Drop the connection when that many bytes of the answer's body have gone out."""
    status: int | None = None
    """Answer this, with `headers`, instead of doing the work."""
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    """Drop the connection instead of doing the work."""
    after_work: bool = False
    """Do the work all the same, and only then answer `status` or drop the connection."""


@dataclass
class RequestRecord:
    """A request that came in. `status` is None while there is no answer, and for ever where it was dropped."""

    method: str
    path: str
    query: str
    host: str
    token: str | None
    status: int | None = None

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


class FaultInjector:
    """Writes down each request, and makes go wrong what was ordered to."""

    def __init__(self, app: ASGIApp, revoke: Callable[[str], None]) -> None:
        self._app, self._revoke = app, revoke
        self._orders: list[tuple[Fault, int]] = []
        self._records: list[RequestRecord] = []
        self._cleared = asyncio.Event()

    def order(self, fault: Fault) -> None:
        self._orders.append((fault, fault.times))

    def clear(self) -> None:
        """Forget orders and requests."""
        self.clear_orders()
        self._records.clear()

    def clear_orders(self) -> None:
        self._orders.clear()
        self._cleared.set()
        self._cleared = asyncio.Event()

    def journal(self) -> list[dict[str, Any]]:
        return [asdict(record) for record in self._records]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(CONTROL):
            await self._app(scope, receive, send)
            return
        record = _record_of(scope)
        self._records.append(record)

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
            await send(message)

        fault = self._take_order(record)
        if fault is None:
            await self._app(scope, receive, send_and_note)
        else:
            await self._fail(fault, scope, receive, send_and_note)

    def _take_order(self, record: RequestRecord) -> Fault | None:
        for place, (fault, left) in enumerate(self._orders):
            if re.search(fault.match, record.line):
                if left > 1:
                    self._orders[place] = (fault, left - 1)
                else:
                    del self._orders[place]
                return fault
        return None

    async def _fail(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        connection: asyncio.Transport = scope["state"]["connection"]
        if fault.revoke is not None:
            self._revoke(fault.revoke)
        if fault.hang_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._cleared.wait(), fault.hang_s)
            if connection.is_closing():
                return
        if fault.cut_request_after is not None:
            await _swallow(receive, fault.cut_request_after)
            connection.abort()
        elif fault.cut_response_after is not None:
            await self._app(scope, receive, _cut(send, fault.cut_response_after, connection))
        elif fault.status is None and not fault.drop:
            await self._app(scope, receive, send)
        else:
            if fault.after_work:
                await self._app(scope, receive, _into_the_void)
            if fault.drop:
                connection.abort()
            elif fault.status is not None:
                answer = refusal_response(fault.status, "This failure was ordered by a test")
                answer.headers.update(fault.headers)
                await answer(scope, receive, send)


def _record_of(scope: Scope) -> RequestRecord:
    headers = Headers(scope=scope)
    token = headers.get("authorization", "").removeprefix("Bearer ") or None
    query = scope["query_string"].decode("ascii")
    return RequestRecord(scope["method"], scope["path"], query, headers.get("host", ""), token)


async def _into_the_void(_message: Message) -> None:
    pass


async def _swallow(receive: Receive, count: int) -> None:
    while count > 0:
        message = await receive()
        count -= len(message.get("body", b""))
        if not message.get("more_body"):
            return


def _cut(send: Send, count: int, connection: asyncio.Transport) -> Send:
    left = count

    async def send_some(message: Message) -> None:
        nonlocal left
        body = message.get("body", b"")
        if message["type"] != "http.response.body" or len(body) < left:
            left -= len(body)
            await send(message)
        elif left > 0:
            await send({"type": "http.response.body", "body": body[:left], "more_body": True})
            left = 0
            connection.close()  # unlike abort, lets what was sent go out

    return send_some
