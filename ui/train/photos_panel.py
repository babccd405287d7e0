"""Step one of the Train page: drop photos, see a verdict for each, or take an example."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from jobs.example import Example, find_examples
from jobs.record.store import is_job_id
from trainer.bases import ASSETS
from trainer.errors import RequestError
from trainer.photos.crop import MIN_SIDE_PX, Crop
from trainer.photos.intake import PhotoSet
from trainer.run_folder import RunFolder
from ui.buttons import ACTIONS_JS, pressed, unknown_button
from ui.errors import spoken
from ui.html import render
from ui.listening import QUIET, QUIET_AT_ONCE, remembered_by_the_browser
from ui.services import Services
from ui.serving.uploads import release

_CROP_EDITOR_JS = (ASSETS / "crop-editor.js").read_text(encoding="utf-8")
_TYPES = [".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif", ".txt"]


@dataclass(frozen=True)
class PhotosPanel:
    """The panel's parts that the rest of the page is wired to."""

    handlers: PhotosHandlers
    draft: gr.BrowserState
    own: gr.BrowserState
    """The draft that photos were last dropped into, which the photos shown may have taken the place of."""
    shown: gr.HTML
    following: list[Any]
    """Events that show an upload's progress, to be ended where other photos take its place; the upload goes on."""
    examples: list[tuple[Example, gr.Button]]


class PhotosHandlers:
    """What the panel does; every call checks whose photos it touches."""

    def __init__(self, services: Services) -> None:
        self._drafts, self._intake = services.drafts, services.intake
        self._owners, self._jobs = services.owners, services.jobs

    def restore(self, draft: str, own: str, request: gr.Request) -> Iterator[tuple[str, str]]:
        """A page opens: show the draft that this browser left, and what is still on its way into it, or begin one."""
        owner = self._owners.of(request)
        draft = self._open_draft(draft)
        back_to = self._way_back(owner, draft, own)
        for photos, left in self._intake.follow(owner, draft):
            yield draft, photos_html(draft, photos, left, back_to=back_to)

    def add(self, files: list[str] | None, draft: str, request: gr.Request) -> Iterator[tuple[Any, str, str, str]]:
        """Take uploaded files, and show verdicts as they are reached."""
        owner = self._owners.of(request)
        draft = self._open_draft(draft)
        paths = [Path(file) for file in files or []]
        # the cleaned copies are kept; the originals carried place and camera data
        self._intake.begin(owner, draft, paths, finished=partial(release, paths))
        emptied: Any = None  # more can be dropped meanwhile
        for photos, left in self._intake.follow(owner, draft):
            yield emptied, draft, draft, photos_html(draft, photos, left)
            emptied = gr.skip()

    def _open_draft(self, draft: str) -> str:
        """The browser's draft, or a new one where it has none, or has one that is a job by now.

        The answer to the press that made it a job may have been lost, or another window pressed.
        """
        return draft if self._is_draft(draft) else self._drafts.new_id()

    def _is_draft(self, draft: str) -> bool:
        return is_job_id(draft) and not self._jobs.knows(draft)

    def _way_back(self, owner: str, draft: str, own: str) -> bool:
        """Whether there are photos of one's own, and others are shown."""
        return own != draft and self._is_draft(own) and bool(self._drafts.read(owner, own).photos)

    def act(self, draft: str, own: str, event: gr.EventData, request: gr.Request) -> Iterator[tuple[str, str]]:
        """A photo is removed, its square is chosen, or a press leads back from other photos to one's own."""
        owner = self._owners.of(request)
        button = pressed(event)
        match button.get("action"):
            case "remove":
                self._drafts.remove(owner, draft, str(button.get("source")), str(button.get("file")) or None)
                yield draft, self._shown(owner, draft, own)
            case "crop":
                self._drafts.crop(owner, draft, str(button.get("file")), _chosen_square(button))
                yield draft, self._shown(owner, draft, own)
            case "back":
                yield from self.restore(own, own, request)
            case other:
                raise unknown_button(other)

    def _shown(self, owner: str, draft: str, own: str) -> str:
        """The draft as it is by now: several presses may be seen to at once, and the last answer is shown."""
        photos = self._drafts.read(owner, draft)
        return photos_html(draft, photos, back_to=self._way_back(owner, draft, own))

    def take_example(self, number: int, own: str, request: gr.Request) -> tuple[str, str]:
        """Begin a new draft with an example's photos. One's own photos are a press away."""
        owner = self._owners.of(request)
        draft = self._drafts.new_id()
        photos = PhotoSet(())
        for file in find_examples()[number].photos:
            photos = self._drafts.add(owner, draft, file, source=file.name)
        return draft, photos_html(draft, photos, back_to=self._way_back(owner, draft, own))

    def take_run(self, run: RunFolder, own: str, request: gr.Request) -> tuple[str, str]:
        """Begin a new draft with a run's photos. One's own photos are a press away."""
        owner = self._owners.of(request)
        draft = self._drafts.begin_with(owner, run.photos)
        photos = self._drafts.read(owner, draft)
        return draft, photos_html(draft, photos, back_to=self._way_back(owner, draft, own))

    def next_draft(self) -> tuple[str, str]:
        """A new, empty draft for the next concept."""
        draft = self._drafts.new_id()
        return draft, photos_html(draft, PhotoSet(()))


def _chosen_square(button: dict[str, Any]) -> Crop | None:
    """The square that the editor sent, None where the one that is found is wanted. Raises RequestError."""
    if "side" not in button:
        return None
    try:
        return Crop(*(int(button[name]) for name in ("left", "top", "side")))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RequestError("This is not a square.") from error


def photos_html(draft: str, photos: PhotoSet, left: int = 0, *, back_to: bool = False) -> str:
    """The photos of a draft with their verdicts; `left` more are still to be looked at.

    `back_to`: these took the place of one's own, and there is a way back to them.
    """
    shown = {"photos": photos.photos, "report": photos.report, "draft": draft, "left": left, "back_to": back_to}
    return render("photos.html", **shown, least_px=MIN_SIDE_PX)


def build_photos_panel(services: Services, page: gr.Blocks) -> PhotosPanel:
    """Draw the panel and wire its own events."""
    handlers = PhotosHandlers(services)
    draft = remembered_by_the_browser("studio-draft", "")  # the id alone opens nothing
    own = remembered_by_the_browser("studio-own-photos", "")
    files = gr.File(
        label="Drop 3 to 20 photos, or press to choose",
        file_count="multiple",
        file_types=_TYPES,
        elem_id="photos-upload",
        height=150,
    )
    examples: list[tuple[Example, gr.Button]] = []
    with gr.Row(elem_classes="cs-examples"):
        gr.HTML("<span>or use an example:</span>", container=False, elem_classes="cs-inline")
        for number, example in enumerate(find_examples()):
            button = gr.Button(example.title, size="sm", min_width=80, elem_id=f"example-{number}")
            examples.append((example, button))
    shown = gr.HTML(photos_html("", PhotoSet(())), elem_id="photos-shown", js_on_load=ACTIONS_JS + _CROP_EDITOR_JS)
    restored = page.load(spoken(handlers.restore), [draft, own], [draft, shown], **QUIET_AT_ONCE)
    uploaded = files.upload(
        spoken(handlers.add),
        [files, draft],
        [files, draft, own, shown],
        **{**QUIET_AT_ONCE, "show_progress": "minimal"},
        trigger_mode="multiple",  # photos may be dropped while others are still looked at
    )
    following: list[Any] = [restored, uploaded]
    shown.click(
        spoken(handlers.act),
        [draft, own],
        [draft, shown],
        **QUIET,
        trigger_mode="multiple",  # several photos may be taken out quickly, one after another
    )
    for number, (_, button) in enumerate(examples):
        button.click(spoken(_numbered(handlers, number)), own, [draft, shown], **QUIET, cancels=following)
    return PhotosPanel(handlers, draft, own, shown, following, examples)


def _numbered(handlers: PhotosHandlers, number: int) -> Any:
    def take(own: str, request: gr.Request) -> tuple[str, str]:
        return handlers.take_example(number, own, request)

    return take
