"""What of the environment a child process gets, and what a library is told by it."""

from __future__ import annotations

import os
from collections.abc import Collection

from trainer.settings import Owners, Settings

_TOKENS = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}


def tell_libraries(variable: str, value: str) -> None:
    """Set what a library takes from the environment alone, unless a person did."""
    os.environ.setdefault(variable, value)


def process_environment() -> dict[str, str]:
    """A copy of this process's environment, for a child: without the sign-in's secret, which is the page's alone."""
    return {name: value for name, value in os.environ.items() if name != "OAUTH_CLIENT_SECRET"}


def environment_without_secrets() -> dict[str, str]:
    """The same for a child that has no use for the Hub or the database."""
    return _without({*_TOKENS, *_of_the_database()})


def environment_for_visitors(settings: Settings) -> dict[str, str]:
    """The environment of a child that works for visitors: without a token that is not theirs.

    The Hub's client would use it for whatever base or concept a visitor names, that of `hf auth login` as well.
    """
    if settings.owner_mode is Owners.single:
        return process_environment()
    return _without(_TOKENS) | {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}


def environment_for_weights(settings: Settings) -> dict[str, str]:
    """The same for a child that opens weights which anybody may have sent: without the database and its password.

    Nor with the folder that the machines of a database share; where a run lies in it the child is told.
    """
    left_out = _of_the_database()
    return {name: value for name, value in environment_for_visitors(settings).items() if name not in left_out}


def _without(names: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in process_environment().items() if name not in names}


def _of_the_database() -> set[str]:
    """Also what Postgres' own library reads."""
    return {*Settings.variables("database_url"), *Settings.variables("shared"), "PGPASSWORD", "PGPASSFILE"}
