"""What the Try it page shows of pictures that are being made, and of those that were."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from inference.drawings import Drawing, End, Stand
from inference.grid import Grid
from inference.grid_picture import save_grid
from inference.protocol import Waiting
from inference.request import PictureRequest
from trainer.quantities import duration
from ui.html import render
from ui.pictures import MAX_KEPT
from ui.services import Services

HISTORY = 24


class Following:
    """Begins drawings and tells how far they are; every call sees only what its owner has."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def begin(self, request: PictureRequest, grid: Grid | None, owner: str, hub_token: str | None) -> Drawing:
        """Ask for a request's pictures, or for those of a grid that was built from it.

        Each picture of a grid is a request of its own, so others who wait are served in between. Raises RequestError
        where too many are under way.
        """
        folder = self._services.pictures.folder(owner)

        def join(files: Sequence[Path]) -> Path:
            assert grid is not None  # else nobody joins
            target = folder / f"{time.time_ns()}-grid.png"
            save_grid(grid, request, files, target)
            return target

        requests = grid.cells if grid else [request]
        return self._services.drawings.begin(owner, requests, folder, token=hub_token, join=join if grid else None)

    async def follow(self, drawing: Drawing, owner: str, shown: int) -> AsyncIterator[tuple[str, str, Any]]:
        """Progress, the history (`shown` pictures of it) and the Stop button, until the drawing has ended.

        No thread waits meanwhile: there are fewer of them than people who may be waiting.
        """
        files, history = None, ""
        async for stand in drawing.follow():
            if stand.files != files:
                files = stand.files
                history = await asyncio.to_thread(self.history, owner, shown, [file.name for file in files])
            yield self._words(stand), history, stop_button(lit=stand.end is None)

    def _words(self, stand: Stand) -> str:
        many = stand.count > 1
        match stand.end:
            case End.made:
                text = f"A grid of {stand.count}" if many else f"{len(stand.files)}"
                return line_html(f"{text} in {duration(stand.seconds)}.", notes=stand.notes, kind="done")
            case End.refused:
                return line_html(stand.reason, kind="cs-bad")
            case End.stopped:
                return line_html("Stopped. Pictures that were done are below.")
            case None:
                return self._progress(stand)

    def _progress(self, stand: Stand) -> str:
        answer = stand.answer
        if isinstance(answer, Waiting):
            if answer.for_training:
                return line_html(
                    f"The GPU is training{self._until()}. Your pictures come after that, whatever you do here."
                )
            many = "one request" if answer.ahead == 1 else f"{answer.ahead} requests"
            return line_html(f"Waiting: {many} before yours.")
        if answer is None or (answer.unit == "steps" and answer.done == 0 and stand.number == 0):
            return line_html("Getting the model ready.")
        if answer.unit == "MB":
            text = f"Downloading the base model: {answer.done:,} of {answer.total:,} MB."
            return line_html(text, done=answer.done, total=answer.total)
        text = f"Making picture {stand.number + 1} of {stand.count}." if stand.count > 1 else "Making pictures."
        return line_html(text, done=stand.number * answer.total + answer.done, total=stand.count * answer.total)

    def _until(self) -> str:
        _, seconds = self._services.jobs.ahead()
        return f" for about {duration(seconds)} more" if seconds else ""

    def history(self, owner: str, count: int = HISTORY, fresh: Sequence[str] = ()) -> str:
        """The newest pictures of the owner as HTML."""
        pictures = self._services.pictures.newest(owner, count + 1)
        older = len(pictures) > count
        return render("pictures.html", pictures=pictures[:count], fresh=fresh, older=older, most=MAX_KEPT)


def stop_button(*, lit: bool) -> Any:
    """The button as it is while something can be stopped, or while nothing can."""
    return gr.update(interactive=lit)


def line_html(text: str, *, done: int = 0, total: int = 0, notes: Sequence[str] = (), kind: str = "") -> str:
    """A sentence where the making of pictures is told, with a bar while there is a `total`."""
    return render("making.html", text=text, done=done, total=total, notes=notes, kind=kind)
