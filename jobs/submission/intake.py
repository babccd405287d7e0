"""Takes uploaded files into drafts, each upload in a thread of its own.

A page that is closed, reloaded or cut off meanwhile loses none of them, and finds out how far it is when it is back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from jobs.submission.drafts import Drafts
from trainer.errors import RequestError
from trainer.photos.intake import MAX_CAPTION, PhotoSet

log = logging.getLogger(__name__)
_UPLOADS_AT_ONCE = 2
_CAPTION = ".txt"
_Draft = tuple[str, str]
"""An owner and the draft's id."""


@dataclass(frozen=True)
class _UnderWay:
    """What is not taken in yet, of one draft: photos, and uploads that they came with."""

    photos: int = 0
    uploads: int = 0


class Intake:
    """The uploads that are under way."""

    def __init__(self, drafts: Drafts) -> None:
        self._drafts = drafts
        self._turn = threading.Semaphore(_UPLOADS_AT_ONCE)
        self._changed = threading.Condition()
        self._under_way: dict[_Draft, _UnderWay] = {}
        self._trouble: dict[_Draft, Exception] = {}

    def begin(self, owner: str, draft_id: str, files: Sequence[Path], *, finished: Callable[[], None]) -> None:
        """Take these files in the background; text files are captions of the photos of their names.

        `finished` is called when none of them is needed any more. Until then the draft cannot be sent to train.
        """
        captions = {file.stem: text for file in files if (text := _caption(file)) is not None}
        photos = [file for file in files if not (file.suffix.lower() == _CAPTION and file.stem in captions)]
        with ExitStack() as taking:
            taking.enter_context(self._drafts.taking(owner, draft_id))
            taking.callback(finished)
            self._count((owner, draft_id), photos=len(photos), uploads=1)
            work = (owner, draft_id), photos, captions, taking.pop_all()
            threading.Thread(target=self._take, args=work, daemon=True).start()

    def follow(self, owner: str, draft_id: str) -> Iterator[tuple[PhotoSet, int]]:
        """The draft's photos and how many are still looked at, each time that this changes, until there are none.

        Raises what stopped an upload, once.
        """
        draft, seen = (owner, draft_id), None
        while seen is None or seen.uploads:
            with self._changed:
                self._changed.wait_for(lambda before=seen: self._of(draft) != before)
                seen = self._of(draft)
            yield self._drafts.read(owner, draft_id), seen.photos
        if (trouble := self._trouble.pop(draft, None)) is not None:
            raise trouble

    def _take(self, draft: _Draft, photos: Sequence[Path], captions: dict[str, str], taking: ExitStack) -> None:
        left = len(photos)
        try:
            with taking, self._turn:
                for file in photos:
                    self._drafts.add(*draft, file, source=file.name, caption=captions.get(file.stem))
                    left -= 1
                    self._count(draft, photos=-1)
                self._drafts.caption(*draft, captions)
        except Exception as error:
            if not isinstance(error, RequestError):
                log.exception("an upload could not be taken in")
            self._trouble[draft] = error
        finally:
            self._count(draft, photos=-left, uploads=-1)

    def _of(self, draft: _Draft) -> _UnderWay:
        return self._under_way.get(draft, _UnderWay())

    def _count(self, draft: _Draft, *, photos: int, uploads: int = 0) -> None:
        with self._changed:
            before = self._of(draft)
            if not before.uploads:
                self._trouble.pop(draft, None)  # of an upload that nobody followed to its end
            self._under_way[draft] = _UnderWay(before.photos + photos, before.uploads + uploads)
            if not self._under_way[draft].uploads:
                del self._under_way[draft]
            self._changed.notify_all()


def _caption(file: Path) -> str | None:
    """A caption file's text; None where it is none, or not text."""
    if file.suffix.lower() != _CAPTION:
        return None
    try:
        return " ".join(file.read_bytes()[: 4 * MAX_CAPTION].decode("utf-8").split())[:MAX_CAPTION]
    except UnicodeDecodeError:
        return None
