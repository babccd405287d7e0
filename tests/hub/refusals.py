"""How the Hub says no. The client tells errors apart by status and by the X-Error-* headers, not by the body."""

from __future__ import annotations

import uuid

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response


class Refusal(Exception):
    """An answer other than the one that was asked for. `code` is what the client maps to an exception class."""

    def __init__(self, status: int, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class Moved(Exception):
    """The repository was renamed: the same request, at its new address, will be served."""

    def __init__(self, old_id: str, new_id: str) -> None:
        super().__init__(f"{old_id} is now {new_id}")
        self.old_id, self.new_id = old_id, new_id


def not_found(what: str, code: str) -> Refusal:
    """404 with one of the client's codes: RepoNotFound, RevisionNotFound, EntryNotFound."""
    return Refusal(404, f"{what} not found", code=code)


def refusal_response(status: int, message: str, *, code: str | None = None) -> JSONResponse:
    """The body and the headers of a refusal."""
    headers = {"X-Error-Message": message.encode("ascii", "replace").decode(), "X-Request-Id": uuid.uuid4().hex}
    if code:
        headers["X-Error-Code"] = code
    return JSONResponse({"error": message}, status, headers)


def answer_refusal(_request: Request, error: Exception) -> Response:
    """Exception handler for Refusal."""
    assert isinstance(error, Refusal)
    return refusal_response(error.status, error.message, code=error.code)


def answer_moved(request: Request, error: Exception) -> Response:
    """Exception handler for Moved: a redirect that keeps method and body."""
    assert isinstance(error, Moved)
    path = request.scope["path"].replace(f"/{error.old_id}", f"/{error.new_id}", 1)
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(path + query, 307)


def answer_nobody(_request: Request, _error: Exception) -> None:
    """Exception handler for ClientDisconnect: whoever left in the midst of a request, or was killed, hears nothing."""


def answer_unknown_route(request: Request, error: Exception) -> Response:
    """Exception handler for what the router refuses: says that this Hub, not the client, lacks something."""
    assert isinstance(error, HTTPException)
    return refusal_response(error.status_code, f"The local Hub does not serve {request.method} {request.scope['path']}")
