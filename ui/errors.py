"""The one boundary between our errors and what the page shows."""

from __future__ import annotations

import functools
import html
import inspect
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gradio as gr

from trainer.errors import StudioError
from trainer.machine.disk_errors import is_full

log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_R = TypeVar("_R")


def spoken(handler: Callable[_P, _R]) -> Callable[_P, _R]:
    """A handler whose errors reach the person as a sentence; what is not ours is logged and admitted."""
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def stream(*args: _P.args, **kwargs: _P.kwargs) -> object:
            try:
                yield from handler(*args, **kwargs)
            except Exception as error:
                raise _shown(error) from error

        return stream  # type: ignore[return-value]

    @functools.wraps(handler)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return handler(*args, **kwargs)
        except Exception as error:
            raise _shown(error) from error

    return call


def words_of(error: Exception) -> str:
    """What a person is told of an error. What is not ours is logged with its traceback."""
    if isinstance(error, StudioError):
        log.info("refused: %s", error)
        return str(error)
    log.error("a handler failed", exc_info=error)
    if is_full(error):
        return "The disk is full, so not everything could be kept. Delete what you no longer need, and try again."
    return "Something went wrong on our side; it is in the log. Reload the page and try again."


def _shown(error: Exception) -> gr.Error:
    if isinstance(error, gr.Error):
        return error
    words = html.escape(words_of(error), quote=False)  # toasts are HTML: nothing would be left after a `<name>`
    if isinstance(error, StudioError):
        return gr.Error(words, duration=12, print_exception=False, title="Not possible")
    return gr.Error(words, print_exception=False, title="Error")
