"""Pictures over HTTP."""

from __future__ import annotations

from typing import Any

import gradio as gr

from inference.drawings import End
from inference.request import PictureRequest
from trainer.errors import RequestError, StudioError
from ui.api.uploaded import uploaded_files
from ui.services import Services
from ui.serving.uploads import release
from ui.try_it.handlers import TryHandlers


class DrawingApi:
    """Every call sees only what its owner has."""

    def __init__(self, services: Services) -> None:
        self._services, self._handlers = services, TryHandlers(services)

    def generate(
        self,
        prompt: str,
        request: gr.Request,
        concepts: dict[str, float] | None = None,
        negative_prompt: str = "",
        base: str = "",
        seed: int = -1,
        steps: int | None = None,
        guidance: float | None = None,
        scheduler: str | None = None,
        width: int | None = None,
        height: int | None = None,
        count: int = 1,
        init_image: dict[str, Any] | None = None,
        strength: float = 0.6,
    ) -> dict[str, Any]:
        """Pictures of a prompt: their addresses below this page, in the order of the seeds, and the first one's seed.

        `concepts`: the jobs whose concepts the prompt names, each with its weight. What is left out is as the Try it
        page has it for these concepts, or for `base` without any; seed -1 is a new one. `init_image` is a file to start
        from.
        """
        owner, token = self._services.owners.of(request), self._services.owners.token_of(request)
        picked = concepts or {}
        if picked:
            usual = self._handlers.defaults(self._handlers.describe(list(picked), owner))
        else:
            usual = self._handlers.defaults_of_base(base)
        chosen = {"base": base or None, "width": width, "height": height}
        chosen |= {"steps": steps, "guidance": guidance, "scheduler": scheduler}
        entered = {
            **{"prompt": prompt, "negative_prompt": negative_prompt, "seed": seed, "count": count},
            **{"init_image": None, "strength": strength},
            **usual,
            **{name: value for name, value in chosen.items() if value is not None},
        }
        start = uploaded_files([init_image]) if init_image is not None else []
        try:
            entered["init_image"] = str(start[0]) if start else None
            made = self._handlers.request(list(picked), list(picked.values()), entered, owner, hub_token=token)
            return {**self._draw(made, owner, token), "seed": made.seed}
        finally:
            release(start)

    def _draw(self, request: PictureRequest, owner: str, hub_token: str | None) -> dict[str, Any]:
        folder = self._services.pictures.folder(owner)
        drawing = self._services.drawings.begin(owner, [request], folder, token=hub_token)
        stand = drawing.wait()
        drawing.was_told = True
        match stand.end:
            case End.made:
                self._services.pictures.prune(owner)
                return {"pictures": [f"studio/picture/{file.name}" for file in stand.files], "notes": list(stand.notes)}
            case End.refused:
                raise RequestError(stand.reason)
            case End.failed:
                raise stand.error or StudioError("The pictures could not be made. Please try again.")
            case _:
                raise RequestError("Stopped.")
