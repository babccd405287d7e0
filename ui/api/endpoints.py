"""The names that gradio_client calls. They are a contract: what a script was written for goes on working."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.components.api_component import Api
from pydantic import ConfigDict, ValidationError, validate_call

from jobs.service import JobService
from ui.api.drawing import DrawingApi
from ui.api.training import TrainingApi
from ui.api.turns import Turns
from ui.errors import words_of
from ui.services import Services

_ACTIONS: dict[str, tuple[Callable[[JobService, str, str], object], str]] = {
    "cancel": (JobService.cancel, "Cancel a waiting or running job."),
    "stop": (JobService.stop_and_keep, "Stop a running job and keep what it learnt."),
}


def build_api(services: Services) -> None:
    """Add the endpoints to the page that is being drawn. A client lists them with `view_api`."""
    training, drawing, turns = TrainingApi(services), DrawingApi(services), Turns(services.owners)
    for endpoint in (training.check_photos, training.train, drawing.generate):
        gr.api(_told(turns.taken_by(endpoint)), concurrency_limit=None)
    for endpoint in (training.jobs, training.job, training.resume, training.delete):
        gr.api(_told(endpoint), concurrency_limit=None)
    for name, (act, what) in _ACTIONS.items():
        gr.api(_told(training.acting(act, what)), api_name=name, concurrency_limit=None)


def hide_all_else(page: gr.Blocks) -> None:
    """The rest of a page that is drawn is no part of the API: gradio adds events of its own to it that would be."""
    for event in page.fns.values():
        if not any(isinstance(component, Api) for component in event.outputs):
            event.api_visibility = "private"


def _told(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """An endpoint whose errors reach the client as a sentence, and what is sent has the types that it says."""
    checked = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(endpoint)
    signature = inspect.signature(endpoint, eval_str=True)

    @functools.wraps(endpoint)
    def call(*args: Any) -> Any:
        try:
            return checked(**signature.bind(*args).arguments)
        except ValidationError as error:
            wrong = dict.fromkeys(f"{each['loc'][0]}: {each['msg']}" for each in error.errors(include_url=False))
            raise gr.Error("; ".join(wrong), print_exception=False) from error
        except Exception as error:
            raise gr.Error(words_of(error), print_exception=False) from error

    # gradio reads parameters and results here, and takes annotations as they stand
    call.__signature__ = signature  # type: ignore[attr-defined]
    return call
