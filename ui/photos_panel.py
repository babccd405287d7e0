"""Step one of the Train page: drop photos, see a verdict for each, or take an example."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from jobs.example import Example, find_examples
from trainer.errors import RequestError
from trainer.photos import MAX_CAPTION, PhotoSet
from ui.errors import spoken
from ui.html import ACTIONS_JS, render
from ui.services import Services
from ui.uploads import release

_TYPES = [".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif", ".txt"]


@dataclass(frozen=True)
class PhotosPanel:
    """The panel's parts that the rest of the page is wired to."""

    draft: gr.BrowserState
    shown: gr.HTML
    examples: list[tuple[Example, gr.Button]]


class PhotosHandlers:
    """What the panel does; every call checks whose photos it touches."""

    def __init__(self, services: Services) -> None:
        self._drafts, self._owners, self._jobs = services.drafts, services.owners, services.jobs

    def restore(self, draft: str, request: gr.Request) -> tuple[str, str]:
        """A page opens: show the draft that this browser left, or begin one."""
        owner = self._owners.of(request)
        draft = self._open_draft(draft)
        return draft, photos_html(draft, self._drafts.read(owner, draft))

    def add(self, files: list[str] | None, draft: str, request: gr.Request) -> Iterator[tuple[Any, str, str]]:
        """Take uploaded files one by one, so that verdicts appear as they are reached."""
        owner = self._owners.of(request)
        draft = self._open_draft(draft)
        paths = [Path(file) for file in files or []]
        captions = {p.stem: _caption(p) for p in paths if p.suffix.lower() == ".txt"}
        looked_at = [p for p in paths if p.suffix.lower() != ".txt" or captions[p.stem] is None]
        left = len(looked_at)
        yield None, draft, photos_html(draft, self._drafts.read(owner, draft), left)  # more can be dropped meanwhile
        try:
            with self._drafts.taking(owner, draft):
                for path in looked_at:
                    left -= 1
                    photos = self._drafts.add(owner, draft, path, source=path.name, caption=captions.get(path.stem))
                    yield gr.skip(), draft, photos_html(draft, photos, left)
        finally:
            release(paths)  # the cleaned copies are kept; the originals carried place and camera data
        photos = self._drafts.caption(owner, draft, {stem: text for stem, text in captions.items() if text is not None})
        yield gr.skip(), draft, photos_html(draft, photos)

    def _open_draft(self, draft: str) -> str:
        """The browser's draft, or a new one where it has none, or has one that is a job by now.

        The answer to the press that made it a job may have been lost, or another window pressed.
        """
        return draft if draft and not self._jobs.knows(draft) else self._drafts.new_id()

    def act(self, draft: str, event: gr.EventData, request: gr.Request) -> str:
        """A press on a photo's remove button."""
        owner = self._owners.of(request)
        position = str(event._data.get("position", ""))  # noqa: SLF001 - gradio's own way to the event's data
        if event._data.get("action") != "remove" or not position.isdigit():  # noqa: SLF001
            raise RequestError("This button is not known.")
        return photos_html(draft, self._drafts.remove(owner, draft, int(position)))

    def take_example(self, number: int, request: gr.Request) -> tuple[str, str]:
        """Begin a new draft with an example's photos."""
        owner = self._owners.of(request)
        draft = self._drafts.new_id()
        photos = PhotoSet(())
        for file in find_examples()[number].photos:
            photos = self._drafts.add(owner, draft, file, source=file.name)
        return draft, photos_html(draft, photos)


def _caption(file: Path) -> str | None:
    """A caption file's text; None where it is not text."""
    try:
        return " ".join(file.read_bytes()[: 4 * MAX_CAPTION].decode("utf-8").split())[:MAX_CAPTION]
    except UnicodeDecodeError:
        return None


def photos_html(draft: str, photos: PhotoSet, left: int = 0) -> str:
    """The photos of a draft with their verdicts; `left` more are still to be looked at."""
    return render("photos.html", photos=photos.photos, report=photos.report, draft=draft, left=left)


def build_photos_panel(services: Services, page: gr.Blocks) -> PhotosPanel:
    """Draw the panel and wire its own events."""
    handlers = PhotosHandlers(services)
    # the id alone opens nothing; with a secret that changes with every start, a restart would lose the draft
    draft = gr.BrowserState("", storage_key="studio-draft", secret="concept-studio")
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
    shown = gr.HTML(photos_html("", PhotoSet(())), elem_id="photos-shown", js_on_load=ACTIONS_JS)
    page.load(spoken(handlers.restore), draft, [draft, shown], api_visibility="private", show_progress="hidden")
    files.upload(
        spoken(handlers.add),
        [files, draft],
        [files, draft, shown],
        api_visibility="private",
        show_progress="minimal",
        trigger_mode="multiple",  # photos may be dropped while others are still looked at
    )
    shown.click(spoken(handlers.act), draft, shown, api_visibility="private", show_progress="hidden")
    for number, (_, button) in enumerate(examples):
        take = _numbered(handlers, number)
        button.click(spoken(take), None, [draft, shown], api_visibility="private", show_progress="minimal")
    return PhotosPanel(draft, shown, examples)


def _numbered(handlers: PhotosHandlers, number: int) -> Any:
    def take(request: gr.Request) -> tuple[str, str]:
        return handlers.take_example(number, request)

    return take
