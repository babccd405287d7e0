"""How many requests of programs may be under way: each that photos or pictures are waited for in takes a thread."""

from __future__ import annotations

import functools
import inspect
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import gradio as gr

from trainer.errors import RequestError
from ui.owners import OwnerPolicy

IN_ALL, EACH = 32, 4


class Turns:
    """Counts requests, by owner; one too many is told so at once, instead of keeping everybody's page waiting."""

    def __init__(self, owners: OwnerPolicy) -> None:
        self._owners = owners
        self._lock, self._under_way = threading.Lock(), Counter[str]()

    def taken_by(self, endpoint: Callable[..., Any]) -> Callable[..., Any]:
        """The endpoint, which raises RequestError while its owner, or all of them, have enough under way."""
        signature = inspect.signature(endpoint, eval_str=True)

        @functools.wraps(endpoint)
        def call(*args: Any, **kwargs: Any) -> Any:
            request: gr.Request = signature.bind(*args, **kwargs).arguments["request"]
            owner = self._owners.of(request)
            self._begin(owner)
            try:
                return endpoint(*args, **kwargs)
            finally:
                self._end(owner)

        return call

    def _begin(self, owner: str) -> None:
        with self._lock:
            each = IN_ALL if self._owners.single else EACH
            if self._under_way[owner] >= each or self._under_way.total() >= IN_ALL:
                raise RequestError("Too many requests are under way. Wait until one is answered, and try again.")
            self._under_way[owner] += 1

    def _end(self, owner: str) -> None:
        with self._lock:
            self._under_way[owner] -= 1
            self._under_way += Counter[str]()  # forgets who has none left
