"""The one intake for photos, of the page and of the command line.

Files go in; cleaned, upright, metadata-free JPEGs and a dataset.json come out, with a verdict for every file.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from trainer.errors import PhotoError, RequestError
from trainer.photos.checkup import SetReport, Verdict, find_flaws, fingerprint, judge_set, looks_like
from trainer.photos.crop import MIN_SIDE_PX, Crop, find_crop
from trainer.photos.decode import decode_photo
from trainer.whole_files import write_whole

DATASET_FILE = "dataset.json"
MAX_CAPTION = 1000
JPEG_QUALITY = 95
THUMBNAIL_PX = 192


@dataclass(frozen=True)
class Photo:
    """One file of a set. `file` is its name in the photos folder, None where it was refused.

    `source` is the name it came with, made safe to show; `crop` the square to train on, in pixels of the stored file.
    """

    source: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    file: str | None = None
    width: int = 0
    height: int = 0
    crop: Crop | None = None
    caption: str | None = None
    fingerprint: int = 0
    duplicate: bool = False

    def as_dict(self) -> dict[str, object]:
        """What programs are told of a photo, by the command line and over HTTP: the names stay."""
        return {"file": self.source, "verdict": self.verdict, "reasons": list(self.reasons)}


@dataclass(frozen=True)
class PhotoSet:
    """All files that were offered, in order."""

    photos: tuple[Photo, ...]

    @property
    def usable(self) -> tuple[Photo, ...]:
        return tuple(p for p in self.photos if p.file is not None)

    @property
    def report(self) -> SetReport:
        return judge_set([p.verdict for p in self.photos], sum(p.duplicate for p in self.photos))


def shown_name(name: str) -> str:
    """A file name that is safe to show: no control or direction characters, no path, at most 80 characters."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(c for c in base if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    return (kept if len(kept) <= 80 else f"{kept[:60]}…{kept[-16:]}") or "unnamed"


def files_of_folder(folder: Path) -> list[Path]:
    """What a folder offers as photos, sorted by name: no hidden files, and no captions of photos beside them."""
    if not folder.is_dir():
        raise RequestError(f"{folder} is not a folder.")
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    stems = {entry.stem for entry in entries if entry.suffix.lower() != ".txt"}
    return [e for e in entries if not (e.suffix.lower() == ".txt" and e.stem in stems) and e.name != DATASET_FILE]


def read_caption(photo: Path) -> str | None:
    """The caption in photo.txt beside photo.jpg, on one line."""
    besides = (photo.with_suffix(suffix) for suffix in (".txt", ".TXT", ".Txt"))
    beside = next((file for file in besides if file.is_file() and not file.is_symlink() and file != photo), None)
    if beside is None:
        return None
    try:
        with beside.open("rb") as file:
            text = file.read(4 * MAX_CAPTION).decode("utf-8", errors="replace")
    except OSError as error:
        raise RequestError(f"The caption {beside.name} cannot be read ({error.strerror}).") from error
    return " ".join(text.split())[:MAX_CAPTION] or None


def take_photo(
    path: Path, folder: Path, *, number: int, source: str | None = None, caption: str | None = None
) -> Photo:
    """Clean one file into `folder` as NNNN.jpg; a file that cannot be used comes back refused, with the reason."""
    name = shown_name(source or path.name)
    try:
        picture = decode_photo(path)
    except PhotoError as error:
        return Photo(name, Verdict.refused, (str(error),))
    flaws = find_flaws(picture)
    file = f"{number:04d}.jpg"
    folder.mkdir(parents=True, exist_ok=True)
    picture.save(folder / file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return Photo(
        source=name,
        verdict=Verdict.warning if flaws else Verdict.ok,
        reasons=tuple(flaws),
        file=file,
        width=picture.width,
        height=picture.height,
        crop=find_crop(picture),
        caption=caption,
        fingerprint=fingerprint(picture),
    )


def mark_duplicates(photos: Iterable[Photo]) -> PhotoSet:
    """The set with every later copy of an earlier photo marked and explained; safe to call again on its own result."""
    seen: list[Photo] = []
    marked: list[Photo] = []
    for photo in photos:
        twin = next((s for s in seen if looks_like(s.fingerprint, photo.fingerprint)), None) if photo.file else None
        if photo.file and twin is None:
            seen.append(photo)
        marked.append(_as_copy_of(twin, photo) if twin else _as_original(photo))
    return PhotoSet(tuple(marked))


_COPY = "looks the same as "


def _as_original(photo: Photo) -> Photo:
    if not photo.duplicate:
        return photo
    reasons = tuple(r for r in photo.reasons if not r.startswith(_COPY))
    return replace(photo, verdict=Verdict.warning if reasons else Verdict.ok, duplicate=False, reasons=reasons)


def _as_copy_of(twin: Photo, photo: Photo) -> Photo:
    reasons = (*_as_original(photo).reasons, f"{_COPY}{twin.source}")
    return replace(photo, verdict=Verdict.warning, duplicate=True, reasons=reasons)


def take_folder(source: Path, folder: Path) -> PhotoSet:
    """Clean every file of `source` into `folder` and write its dataset.json."""
    photos = [
        take_photo(path, folder, number=number, caption=read_caption(path))
        for number, path in enumerate(files_of_folder(source), start=1)
    ]
    photo_set = mark_duplicates(photos)
    write_dataset(folder, photo_set)
    return photo_set


def write_dataset(folder: Path, photo_set: PhotoSet) -> None:
    """dataset.json: what is in the folder, how each photo is cropped and captioned, and what was refused."""
    entries = [
        {
            "file": p.file,
            "source": p.source,
            "width": p.width,
            "height": p.height,
            "crop": p.crop.as_dict() if p.crop else None,
            "caption": p.caption,
            "fingerprint": f"{p.fingerprint:064x}",
            "verdict": p.verdict.value,
            "reasons": list(p.reasons),
            "duplicate": p.duplicate,
        }
        for p in photo_set.photos
    ]
    write_whole(folder / DATASET_FILE, json.dumps({"version": 1, "photos": entries}, indent=2, ensure_ascii=False))


def read_dataset(folder: Path) -> PhotoSet:
    """The set that `write_dataset` wrote. Raises RequestError if the folder holds none."""
    try:
        document = json.loads((folder / DATASET_FILE).read_text(encoding="utf-8"))
        return PhotoSet(tuple(_photo_from(entry) for entry in document["photos"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{folder} holds no readable {DATASET_FILE}.") from error


def _photo_from(entry: dict[str, Any]) -> Photo:
    crop: dict[str, int] | None = entry["crop"]
    return Photo(
        source=str(entry["source"]),
        verdict=Verdict(str(entry["verdict"])),
        reasons=tuple(str(r) for r in entry["reasons"]),
        file=None if entry["file"] is None else str(entry["file"]),
        width=int(entry["width"]),
        height=int(entry["height"]),
        crop=Crop(**crop) if crop else None,
        caption=None if entry["caption"] is None else str(entry["caption"]),
        fingerprint=int(str(entry["fingerprint"]), 16),
        duplicate=bool(entry["duplicate"]),
    )


def choose_crop(folder: Path, photo: Photo, crop: Crop | None) -> Photo:
    """The photo with the square that a person chose, or with the one that is found where they chose none.

    Raises RequestError where it does not lie inside the photo, or is too small.
    """
    if crop is None:
        with Image.open(folder / str(photo.file)) as picture:
            crop = find_crop(picture.convert("RGB"))
    if not crop.is_possible(photo.width, photo.height):
        raise RequestError(f"The square must lie inside the photo and be at least {MIN_SIDE_PX} pixels wide.")
    return replace(photo, crop=crop)


def write_thumbnail(folder: Path, photo: Photo) -> None:
    """thumbs/NNNN.jpg: the square that is trained on, small."""
    thumbnail = cropped(folder, photo).resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    (folder / "thumbs").mkdir(exist_ok=True)
    thumbnail.save(folder / "thumbs" / str(photo.file), "JPEG", quality=85)


def cropped(folder: Path, photo: Photo) -> Image.Image:
    """The square of a stored photo that is trained on."""
    if photo.file is None or photo.crop is None:
        raise RequestError(f"{photo.source} was refused; it has no picture.")
    with Image.open(folder / photo.file) as picture:
        return picture.convert("RGB").crop(photo.crop.box)
