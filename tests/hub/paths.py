"""How paths are matched: as they were sent, so that a %2F inside a revision or a file name stays apart from a /."""

from __future__ import annotations

from urllib.parse import quote, unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.types import ASGIApp, Receive, Scope, Send


class _Segment(Convertor[str]):
    """One segment of the path, whatever is quoted in it."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return unquote(value)

    def to_string(self, value: str) -> str:
        return quote(value, safe="")


class _Rest(_Segment):
    """All that is left of the path."""

    regex = ".+"


class _Kind(Convertor[str]):
    """The kind of repository in a path of the API: models, datasets, spaces."""

    regex = "models|datasets|spaces"

    def convert(self, value: str) -> str:
        return value.removesuffix("s")

    def to_string(self, value: str) -> str:
        return f"{value}s"


class _KindPrefix(Convertor[str]):
    """The kind of repository before its name in addresses of the site, where models have none."""

    regex = "(?:datasets/|spaces/)?"

    def convert(self, value: str) -> str:
        return value.removesuffix("s/") or "model"

    def to_string(self, value: str) -> str:
        return "" if value == "model" else f"{value}s/"


register_url_convertor("segment", _Segment())
register_url_convertor("rest", _Rest())
register_url_convertor("kind", _Kind())
register_url_convertor("kind_prefix", _KindPrefix())

REPO_API = "/api/{kind:kind}/{namespace:segment}/{name:segment}"
"""A repository in the API."""
REPO_SITE = "/{kind:kind_prefix}{namespace:segment}/{name:segment}"
"""A repository on the site, from where its files are downloaded."""


class RawPaths:
    """Hands on the path as it was sent, instead of unquoted."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].decode("ascii")}
        await self._app(scope, receive, send)
