"""Moments as the Hub writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(moment_s: float | None = None) -> str:
    """Now, or seconds since the epoch, as the Hub writes a moment: in UTC, with milliseconds and a Z."""
    moment = datetime.now(UTC) if moment_s is None else datetime.fromtimestamp(moment_s, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
