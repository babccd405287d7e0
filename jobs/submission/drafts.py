"""Photos that were uploaded but not yet sent to train: one folder a draft, each of one owner.

A draft survives a reload of the page; what nobody trained within a day is removed.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from jobs.record.store import is_job_id, new_job_id
from jobs.submission.folder_locks import FolderLocks
from trainer.errors import RequestError
from trainer.photos.crop import Crop
from trainer.photos.intake import (
    DATASET_FILE,
    Photo,
    PhotoSet,
    choose_crop,
    mark_duplicates,
    read_dataset,
    take_photo,
    write_dataset,
    write_thumbnail,
)

MAX_FILES = 220
_KEEP_S = 24 * 3600


class Drafts:
    """The drafts of a data root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks = FolderLocks()
        self._taking = Counter[Path]()

    def new_id(self) -> str:
        return new_job_id()

    def folder(self, owner: str, draft_id: str) -> Path:
        """Where a draft lies. Raises RequestError for an id that is none."""
        if not is_job_id(draft_id):
            raise RequestError("There are no such photos.")
        return self._root / owner / draft_id

    def owners(self) -> set[str]:
        """Everybody who has drafts."""
        return {folder.name for folder in self._root.glob("*")}

    def adopt(self, old: str, new: str) -> None:
        """Give an owner's drafts to another, who may have one of the same id: then the newer one stays.

        One that more photos are on their way into stays where it is until it is asked for again: the rest would make a
        second draft of the same id, before which this one would go.
        """
        for draft in (self._root / old).glob("*"):
            target = self._root / new / draft.name
            target.parent.mkdir(parents=True, exist_ok=True)
            first, second = sorted((draft, target))  # so that two who adopt from each other do not wait for ever
            another_was_faster = contextlib.suppress(FileNotFoundError)
            with self._locks.held(first), self._locks.held(second), another_was_faster:
                if self._taking[draft]:
                    continue
                older = target if _changed(target) < _changed(draft) else draft
                shutil.rmtree(older, ignore_errors=True)
                draft.replace(target)

    def begin_with(self, owner: str, photos: Path) -> str:
        """A new draft with the photos of a run. Raises RequestError where they are gone."""
        if not (photos / DATASET_FILE).exists():
            raise RequestError("The photos of this job are not here any more.")
        draft_id = self.new_id()
        folder = self.folder(owner, draft_id)
        folder.mkdir(parents=True)
        try:
            _copy_photos(read_dataset(photos).usable, photos, folder)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return draft_id

    def read(self, owner: str, draft_id: str) -> PhotoSet:
        """The draft's photos; an empty set where there are none yet."""
        folder = self.folder(owner, draft_id)
        return read_dataset(folder) if (folder / DATASET_FILE).exists() else PhotoSet(())

    def add(self, owner: str, draft_id: str, file: Path, *, source: str, caption: str | None = None) -> PhotoSet:
        """Clean one more file into the draft; refused files stay in the set with their reason."""
        folder = self.folder(owner, draft_id)
        with self._locks.held(folder):
            photos = list(self.read(owner, draft_id).photos)
            if len(photos) >= MAX_FILES:
                raise RequestError(f"At most {MAX_FILES} files are taken at a time.")
            number = 1 + max((_number(photo) for photo in photos), default=0)
            photo = take_photo(file, folder, number=number, source=source, caption=caption)
            if photo.file is not None:
                write_thumbnail(folder, photo)
            return self._write(folder, [*photos, photo])

    def caption(self, owner: str, draft_id: str, captions: Mapping[str, str]) -> PhotoSet:
        """Put captions to the photos of these names without ending that have none yet, whenever either came."""
        folder = self.folder(owner, draft_id)
        with self._locks.held(folder):
            photo_set = self.read(owner, draft_id)
            photos = [_captioned(photo, captions) for photo in photo_set.photos]
            return self._write(folder, photos) if photos != list(photo_set.photos) else photo_set

    def remove(self, owner: str, draft_id: str, source: str, file: str | None) -> PhotoSet:
        """Take a photo out of the draft, by the name that it came with and its file here, if it has one."""
        folder = self.folder(owner, draft_id)
        with self._locks.held(folder):
            photos = list(self.read(owner, draft_id).photos)
            removed = next((photo for photo in photos if (photo.source, photo.file) == (source, file)), None)
            if removed is not None:
                photos.remove(removed)
                if removed.file is not None:
                    (folder / removed.file).unlink(missing_ok=True)
                    (folder / "thumbs" / removed.file).unlink(missing_ok=True)
            return self._write(folder, photos)

    def crop(self, owner: str, draft_id: str, file: str, crop: Crop | None) -> PhotoSet:
        """Train on this square of a photo, or on the one that is found. Raises RequestError as `choose_crop` does."""
        folder = self.folder(owner, draft_id)
        with self._locks.held(folder):
            photos = list(self.read(owner, draft_id).photos)
            place = next((i for i, photo in enumerate(photos) if photo.file == file), None)
            if place is None:
                raise RequestError("This photo is not here any more.")
            photos[place] = choose_crop(folder, photos[place], crop)
            write_thumbnail(folder, photos[place])
            return self._write(folder, photos)

    @contextlib.contextmanager
    def taking(self, owner: str, draft_id: str) -> Generator[None]:
        """While entered, more photos are on their way into the draft, and it cannot be copied."""
        folder = self.folder(owner, draft_id)
        with self._locks.held(folder):
            self._taking[folder] += 1
        try:
            yield
        finally:
            with self._locks.held(folder):
                self._taking[folder] -= 1
                if not self._taking[folder]:
                    del self._taking[folder]

    def copy_to(self, owner: str, draft_id: str, target: Path) -> PhotoSet:
        """Copy the usable photos into a run's photos folder. Raises RequestError while more are on their way."""
        folder = self.folder(owner, draft_id)
        target.mkdir(parents=True, exist_ok=True)
        with self._locks.held(folder):
            if self._taking[folder]:
                raise RequestError("Your photos are still being looked at. Press again when all of them are there.")
            photo_set = self.read(owner, draft_id)
            _copy_photos(photo_set.usable, folder, target)
        return photo_set

    def discard(self, owner: str, draft_id: str) -> None:
        folder = self.folder(owner, draft_id)
        with self._locks.held(folder):
            shutil.rmtree(folder, ignore_errors=True)

    def remove_old(self) -> None:
        """Remove drafts that nobody touched for a day."""
        for folder in self._root.glob("*/*"):
            with self._locks.held(folder), contextlib.suppress(OSError):
                if folder.is_dir() and time.time() - folder.stat().st_mtime > _KEEP_S:
                    shutil.rmtree(folder, ignore_errors=True)  # a file that cannot go keeps no other
        for owner in self._root.glob("*"):
            with contextlib.suppress(OSError):  # not empty
                if time.time() - owner.stat().st_mtime > _KEEP_S:  # else somebody may be about to put a draft there
                    owner.rmdir()

    def _write(self, folder: Path, photos: list[Photo]) -> PhotoSet:
        photo_set = mark_duplicates(photos)
        write_dataset(folder, photo_set)
        return photo_set


def _copy_photos(photos: Iterable[Photo], folder: Path, target: Path) -> None:
    """Copy photos with their thumbnails, and say in the target what they are."""
    copied = PhotoSet(tuple(photos))
    for photo in copied.photos:
        assert photo.file is not None  # of a usable one
        shutil.copy2(folder / photo.file, target / photo.file)
        write_thumbnail(target, photo)
    write_dataset(target, copied)


def _number(photo: Photo) -> int:
    return int(photo.file.split(".")[0]) if photo.file else 0


def _captioned(photo: Photo, captions: Mapping[str, str]) -> Photo:
    own = captions.get(Path(photo.source).stem)
    return replace(photo, caption=own) if own is not None and photo.caption is None else photo


def _changed(folder: Path) -> float:
    """When files of a folder last came or went, in seconds since the epoch; before all times where there is none."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0
