"""How soon a lost connection to Postgres is noticed; by default a query waits a quarter of an hour for its answer."""

from __future__ import annotations

import sqlalchemy as sa

_LIMITS = {
    "connect_timeout": "10",  # seconds
    "tcp_user_timeout": "20000",  # milliseconds, for what is sent, and for the questions below
    "keepalives_idle": "10",  # seconds without a word until it is asked whether the other side is there
    "keepalives_interval": "5",  # and from one such question to the next
}


def noticing_loss(url: str) -> str:
    """The URL of a database, with these limits where it says none itself. Raises ArgumentError or ValueError."""
    if url.startswith("sqlite"):
        return url
    given = sa.make_url(url)
    limits = {name: value for name, value in _LIMITS.items() if name not in given.query}
    return given.update_query_dict(limits).render_as_string(hide_password=False)
