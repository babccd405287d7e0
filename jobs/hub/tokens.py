"""Access tokens of the Hub: handed from the page over local sockets to the processes that work with them.

Each keeps them in its memory alone.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.errors import RequestError
from trainer.machine.local_socket import connections, listening, socket_path

log = logging.getLogger(__name__)
_MAX_LINE = 16 * 1024
_OK = b"ok\n"


class _Handover(BaseModel):
    """The one line that the page sends."""

    model_config = ConfigDict(frozen=True)

    owner: str
    token: str = Field(repr=False)


class TokenVault:
    """One token for each owner, in memory; `fallback` is the machine's own, for an owner without one."""

    def __init__(self, fallback: str | None = None) -> None:
        self._fallback = fallback
        self._tokens: dict[str, str] = {}
        self._lock = threading.Lock()

    def put(self, owner: str, token: str) -> None:
        with self._lock:
            self._tokens[owner] = token

    def of(self, owner: str) -> str | None:
        with self._lock:
            return self._tokens.get(owner, self._fallback)

    def forget(self, owner: str, token: str | None) -> bool:
        """Drop a token that the Hub no longer takes; False where it is not the one that the owner gave."""
        with self._lock:
            is_theirs = token is not None and self._tokens.get(owner) == token
            if is_theirs:
                del self._tokens[owner]
            return is_theirs

    def take_over(self, server: socket.socket) -> None:
        """Accept handovers for as long as the process lives; runs in a thread of its own."""
        for connection in connections(server):
            connection.settimeout(5)
            with connection, contextlib.suppress(OSError), connection.makefile("rb") as lines:
                try:
                    handover = _Handover.model_validate_json(lines.readline(_MAX_LINE))
                except ValidationError:
                    log.warning("a token came in a form that is not understood")  # the error would quote it
                    continue
                self.put(handover.owner, handover.token)
                connection.sendall(_OK)


PUBLISHING_TOKENS, TRAINING_TOKENS = "tokens", "training-tokens"


def fetching_tokens(device_key: str) -> str:
    """The socket of a device's supervisor, whose children fetch concepts."""
    return f"fetching-tokens-{device_key}"


def token_socket(runtime: Path, name: str = PUBLISHING_TOKENS) -> Path:
    return socket_path(runtime, name)


@contextmanager
def taking_tokens(vault: TokenVault, runtime: Path, name: str) -> Generator[None]:
    """Take handovers into a vault, in a thread, while the block runs."""
    with listening(token_socket(runtime, name)) as server:
        threading.Thread(target=vault.take_over, args=(server,), name="tokens", daemon=True).start()
        yield


class TokenDesk:
    """The page's side. `own` is the machine's token, where its only owner set one; `devices` have a supervisor each."""

    def __init__(self, runtime: Path, own: str | None, devices: Sequence[str] = ()) -> None:
        self._runtime, self.own, self._devices = runtime, own, devices

    def hand_over(self, owner: str, token: str) -> None:
        """Give the publisher an owner's token. Raises RequestError where the publisher is not there."""
        self._hand_over(PUBLISHING_TOKENS, "The publisher", owner, token)

    def hand_over_for_training(self, owner: str, token: str) -> None:
        """Give it to whoever follows Jobs at Hugging Face. Raises RequestError where that process is not there."""
        self._hand_over(TRAINING_TOKENS, "The link to Hugging Face", owner, token)

    def hand_over_for_fetching(self, owner: str, token: str) -> None:
        """Give it to every supervisor: any may take the job. Raises RequestError where none is there."""
        away, taken = None, False
        for device in self._devices:
            try:
                self._hand_over(fetching_tokens(device), "The supervisor", owner, token)
            except RequestError as error:
                away = error
            else:
                taken = True
        if away is not None and not taken:
            raise away

    def _hand_over(self, name: str, taker: str, owner: str, token: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5)
            try:
                connection.connect(str(token_socket(self._runtime, name)))
                connection.sendall(_Handover(owner=owner, token=token).model_dump_json().encode() + b"\n")
                taken = connection.recv(len(_OK)) == _OK
            except OSError:
                taken = False
        if not taken:
            raise RequestError(f"{taker} is starting, or has just been restarted. Please try again in a few seconds.")
