"""The pictures of the Try it page: how far those are that are being made, and the history."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from inference.drawings import Drawing, End, Stand
from inference.grid import Grid
from inference.grid_picture import save_grid
from inference.protocol import Waiting
from inference.request import PictureRequest
from trainer.quantities import duration
from ui.buttons import ACTIONS_JS
from ui.errors import spoken, words_of
from ui.html import render
from ui.listening import QUIET_AT_ONCE
from ui.pictures import KEPT_DAYS, MAX_KEPT
from ui.polling import RESCUE_POLL_S
from ui.services import Services

HISTORY = 24
LOOK_S, LOOK_WHILE_WAITING_S = 0.5, 2.0
"""How often a page looks while pictures are made. Each look is short, so that any number of people may wait."""

_FORGOTTEN = "Concept Studio was started anew meanwhile. Pictures that were done are below; ask again for the others."


class Shown(NamedTuple):
    """What a page shows of a drawing: its key until the end is shown, and how many of its pictures."""

    key: str = ""
    files: int = 0


class DrawingPanel:
    """Draws the panel. A page that opens goes on showing what its owner asked for, on whatever page that was."""

    def __init__(self, services: Services, stop: gr.Button) -> None:
        """`stop` ends what is under way, and is lit while there is anything."""
        self._services, self._stop = services, stop
        self.making = gr.HTML(elem_id="try-making")
        self.pictures = gr.HTML(elem_id="try-pictures", js_on_load=ACTIONS_JS)
        self.count = gr.State(HISTORY)  # how many pictures of the history are shown
        self._shown = gr.State(Shown())
        self._timer, self._rescue = gr.Timer(LOOK_S, active=False), gr.Timer(RESCUE_POLL_S, active=False)

        stop.click(spoken(self._stop_all), None, stop, **QUIET_AT_ONCE)
        self._timer.tick(spoken(self.look_on), self.looks_at, self.looks, **QUIET_AT_ONCE)
        rescue = {**QUIET_AT_ONCE, "trigger_mode": "multiple"}  # a look whose answer was lost holds all later ones back
        self._rescue.tick(spoken(self.look_on), self.looks_at, self.looks, **rescue)

    @property
    def looks_at(self) -> list[Component]:
        """What `look` reads."""
        return [self._shown, self.count]

    @property
    def looks(self) -> list[Component]:
        """What `look` fills."""
        return [self.making, self.pictures, self._stop, self._shown, self._timer, self._rescue]

    def begin(self, request: PictureRequest, grid: Grid | None, owner: str, hub_token: str | None) -> Shown:
        """Ask for a request's pictures, or for those of a grid that was built from it.

        Each picture of a grid is a request of its own, so others who wait are served in between. Raises RequestError
        where too many are under way.
        """

        def join(folder: Path, files: Sequence[Path]) -> Path:
            assert grid is not None  # else nobody joins
            target = folder / f"{time.time_ns()}-grid.png"
            save_grid(grid, request, files, target)
            return target

        requests, folder = grid.cells if grid else [request], self._services.pictures.folder(owner)
        join_all = join if grid else None
        return Shown(self._services.drawings.begin(owner, requests, folder, token=hub_token, join=join_all).key)

    def look(self, shown: Shown, count: int, request: gr.Request) -> list[Any]:
        """How far the owner's drawing is, or how it ended if nobody was told of that."""
        owner = self._services.owners.of(request)
        drawing = self._services.drawings.to_show(owner, shown.key)
        if drawing is None:
            return [gr.skip(), gr.skip(), *self._still(Shown(), goes_on=False)]
        return self._tell(drawing, shown, count, owner)

    def look_on(self, shown: Shown, count: int, request: gr.Request) -> list[Any]:
        """The same for a page that shows something under way.

        Where the answer with its end was lost, it is told again how the owner's newest drawing ended; an app that was
        started anew has forgotten that, and says so.
        """
        owner, drawings = self._services.owners.of(request), self._services.drawings
        drawing = drawings.to_show(owner, shown.key) or drawings.newest(owner)
        if drawing is None:
            return [line_html(_FORGOTTEN), self.history(owner, count), *self._still(Shown(), goes_on=False)]
        return self._tell(drawing, shown, count, owner)

    def _tell(self, drawing: Drawing, shown: Shown, count: int, owner: str) -> list[Any]:
        """Pictures are sent only when there are others."""
        goes_on = self._services.drawings.is_under_way(owner)
        stand = drawing.look()
        before = shown.files if drawing.key == shown.key else 0
        pictures = self.history(owner, count, stand.files) if len(stand.files) != before else gr.skip()
        now_shown = Shown("" if stand.end else drawing.key, len(stand.files))
        words = self._words_or_trouble(stand, drawing)
        return [words, pictures, *self._still(now_shown, goes_on=goes_on or not stand.end, waits=_waits(stand))]

    def _still(self, shown: Shown, *, goes_on: bool, waits: bool = False) -> list[Any]:
        every_s = LOOK_WHILE_WAITING_S if waits else LOOK_S
        timers = gr.Timer(every_s, active=goes_on), gr.Timer(RESCUE_POLL_S, active=goes_on)
        return [gr.update(interactive=goes_on), shown, *timers]

    def _words_or_trouble(self, stand: Stand, drawing: Drawing) -> str:
        """How far it is, or how it ended: then somebody was told. It comes again and again, so nothing is raised."""
        if stand.end is not None:
            drawing.was_told = True
            return _ending(stand, stand.end)
        try:
            return self._progress(stand)
        except Exception as error:  # noqa: BLE001 - whatever it is, the page goes on looking
            return line_html(words_of(error), kind="cs-bad")

    def _progress(self, stand: Stand) -> str:
        answer = stand.answer
        if isinstance(answer, Waiting):
            if answer.for_training:
                return line_html(f"The GPU is training{self._until()}. Your pictures come after that; you may leave.")
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

    def history(self, owner: str, count: int, fresh: Sequence[Path] = ()) -> str:
        """The newest pictures of the owner as HTML; `fresh` are those that were just made."""
        pictures = self._services.pictures.newest(owner, count + 1)
        older, names = len(pictures) > count, {file.name for file in fresh}
        days = None if self._services.owners.single else KEPT_DAYS
        return render(
            "pictures.html", pictures=pictures[:count], fresh=names, older=older, most=MAX_KEPT, kept_days=days
        )

    def _stop_all(self, request: gr.Request) -> Any:
        """Those who look are told that it has stopped."""
        self._services.drawings.stop(self._services.owners.of(request))
        return gr.update(interactive=False)


def _waits(stand: Stand) -> bool:
    return isinstance(stand.answer, Waiting)


def _ending(stand: Stand, end: End) -> str:
    match end:
        case End.made:
            text = f"A grid of {stand.count}" if stand.count > 1 else f"{len(stand.files)}"
            return line_html(f"{text} in {duration(stand.seconds)}.", notes=stand.notes, kind="done")
        case End.refused:
            return line_html(stand.reason, kind="cs-bad")
        case End.failed:
            assert stand.error is not None  # it failed with one
            return line_html(words_of(stand.error), kind="cs-bad")
        case End.stopped:
            return line_html("Stopped. Pictures that were done are below.")
        case End.unseen:
            return line_html("Given up, because nobody looked for half an hour. Pictures that were done are below.")


def line_html(text: str, *, done: int = 0, total: int = 0, notes: Sequence[str] = (), kind: str = "") -> str:
    """A sentence where the making of pictures is told, with a bar while there is a `total`."""
    return render("making.html", text=text, done=done, total=total, notes=notes, kind=kind)
