"""Openly licensed pictures for the starter model: where they come from and how they become sprites.

Three icon sets arrive as npm packages (drawn by resvg where they are vectors), a handful of public-domain photos
as files of the scikit-image wheel. Every archive or file is checked against a pinned hash before it is used.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

SPRITE_PX = 192
PERSON = "person"  # the category, and the kind, of what is drawn in every skin tone
SKIN_TONES = ("1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff")


@dataclass(frozen=True)
class IconPackage:
    """One npm package: its pinned version, its npm integrity hash (SHA-512) and the licence of its pictures."""

    name: str
    version: str
    sha512: str
    licence: str
    style: str


NOTO = IconPackage(
    "@iconify-json/noto",
    "1.2.9",
    "DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
    "Noto Emoji, Google, Apache-2.0",
    "drawing",
)
TWEMOJI = IconPackage(
    "@iconify-json/twemoji",
    "1.2.5",
    "uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==",
    "Twemoji, Twitter and contributors, CC-BY-4.0",
    "sticker",
)
FLUENT = IconPackage(
    "@lobehub/fluent-emoji-3d",
    "1.1.0",
    "Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
    "Fluent Emoji, Microsoft, MIT",
    "3d render",
)
PHOTO_WHEEL = "scikit-image==0.26.0"
# Public domain (NASA) and CC0 pictures of skimage.data; the autoencoder learns photographic texture from them.
PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "motorcycle_right.png")
PHOTOS += ("rocket.jpg", "brick.png", "grass.png", "gravel.png")


@dataclass(frozen=True)
class Thing:
    """A named thing: the words for it, its category, and the words a person would use as its class."""

    noun: str
    category: str
    class_word: str
    icons: tuple[str, ...]
    held_out: bool = False
    kind: str = "object"


def load_things(*, more: bool = False) -> list[Thing]:
    """All taught and held-out things of `things.yaml`, in file order; with those that a GPU alone is taught, or not."""
    document = yaml.safe_load(Path(__file__).with_name("things.yaml").read_text(encoding="utf-8"))
    things = [
        Thing(noun, category, noun, tuple(icons or [noun.replace(" ", "-")]))
        for part in ("taught", "more")[: 2 if more else 1]
        for category, nouns in document[part].items()
        for noun, icons in nouns.items()
    ]
    for noun, entry in document["held_out"].items():
        icons = tuple(entry.get("icons") or [noun.replace(" ", "-")])
        things.append(Thing(noun, entry["class"], entry["class"], icons, held_out=True, kind=entry["kind"]))
    return things


def fetch_archive(package: IconPackage, folder: Path) -> Path:
    """Download one npm package into `folder` with the ordinary npm client and check its hash."""
    target = folder / f"{package.name.strip('@').replace('/', '-')}-{package.version}.tgz"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
        subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL)
    digest = base64.b64encode(hashlib.sha512(target.read_bytes()).digest()).decode()
    if digest != package.sha512:
        raise ValueError(f"{target} is not the file that was pinned for {package.name}@{package.version}")
    return target


def fetch_photos(folder: Path) -> list[np.ndarray]:
    """The public-domain photos as uint8 arrays [height, width, 3]."""
    if not list(folder.glob("scikit_image-*.whl")):
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, "-d", str(folder), PHOTO_WHEEL], check=True, stdin=subprocess.DEVNULL)
    with zipfile.ZipFile(next(folder.glob("scikit_image-*.whl"))) as wheel:
        pictures = [Image.open(io.BytesIO(wheel.read(f"skimage/data/{name}"))) for name in PHOTOS]
        return [np.asarray(picture.convert("RGB")) for picture in pictures]


def _plain(code_points: str) -> str:
    return code_points.replace("-fe0f", "")


class IconSet:
    """The icons of the three packages, addressed by Noto's names."""

    def __init__(self, folder: Path) -> None:
        noto, twemoji = (_read_json_package(fetch_archive(p, folder)) for p in (NOTO, TWEMOJI))
        self._noto_icons, self._noto_names = noto
        self._twemoji_icons, self._twemoji_names = twemoji
        with tarfile.open(fetch_archive(FLUENT, folder)) as archive:
            files = {m.name: archive.extractfile(m) for m in archive.getmembers() if m.name.endswith(".webp")}
            self._fluent = {_plain(Path(n).stem): f.read() for n, f in files.items() if f}
        self._code_points: dict[str, list[str]] = {}
        for code_points, name in self._noto_names.items():
            self._code_points.setdefault(name, []).append(code_points)

    def draw_thing(self, thing: Thing) -> list[tuple[str, np.ndarray]]:
        """Every drawing of a thing, under a key of its noun, the style, the icon and a number."""
        every_tone = PERSON in (thing.category, thing.kind)
        return [
            (f"{thing.noun}|{style}|{icon}|{number}", picture)
            for icon in thing.icons
            for style, pictures in self.draw(icon, every_tone=every_tone).items()
            for number, picture in enumerate(pictures)
        ]

    def draw(self, icon: str, *, every_tone: bool) -> dict[str, list[np.ndarray]]:
        """Every drawing of `icon` by style, as premultiplied-free RGBA uint8 [SPRITE_PX, SPRITE_PX, 4]."""
        if icon not in self._code_points:
            raise KeyError(f"the Noto set has no icon named {icon!r}")
        drawings: dict[str, list[np.ndarray]] = {p.style: [] for p in (NOTO, TWEMOJI, FLUENT)}
        for code_points in self._variants(icon, SKIN_TONES if every_tone else ()):
            drawings[NOTO.style].append(_draw_vector(self._noto_icons, self._noto_names[code_points]))
            drawings[TWEMOJI.style].append(_draw_vector(self._twemoji_icons, self._twemoji_names[code_points]))
            drawings[FLUENT.style].append(_read_bitmap(self._fluent[_plain(code_points)]))
        return drawings

    def _variants(self, icon: str, tones: tuple[str, ...]) -> list[str]:
        """Code points of the icon and of its variants in one of the skin tones, as far as all three sets have them."""
        variants = []
        for code_points in self._code_points[icon]:
            first, *rest = code_points.split("-")
            toned = ["-".join([first, tone, *rest]) for tone in tones]
            variants += [
                c
                for c in [code_points, *toned]
                if c in self._noto_names and c in self._twemoji_names and _plain(c) in self._fluent
            ]
        return variants


def _read_json_package(archive: Path) -> tuple[dict, dict[str, str]]:
    with tarfile.open(archive) as tar:
        icons = json.load(tar.extractfile("package/icons.json"))  # type: ignore[arg-type]
        names = json.load(tar.extractfile("package/chars.json"))  # type: ignore[arg-type]
    return icons, names


def _draw_vector(icons: dict, name: str) -> np.ndarray:
    import resvg_py  # noqa: PLC0415 - a development package: only the recipe needs it

    entry = icons["icons"].get(name) or icons["icons"][icons["aliases"][name]["parent"]]
    width, height = entry.get("width", icons["width"]), entry.get("height", icons["height"])
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = f'<svg {names} viewBox="0 0 {width} {height}">{entry["body"]}</svg>'
    png = resvg_py.svg_to_bytes(svg_string=svg, width=SPRITE_PX, height=SPRITE_PX)
    return _read_bitmap(bytes(png))


def _read_bitmap(data: bytes) -> np.ndarray:
    """Trim the transparent border and centre the drawing in a square, so that size means the same in every set."""
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    box = Image.fromarray(np.asarray(picture.getchannel("A")) > 16).getbbox()
    picture = picture.crop(box)
    side = max(picture.size)
    square = Image.new("RGBA", (side, side))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return np.asarray(square.resize((SPRITE_PX, SPRITE_PX), Image.Resampling.LANCZOS))


def load_sprites(folder: Path, things: list[Thing]) -> dict[str, dict[str, list[np.ndarray]]]:
    """noun -> style -> pictures. Drawn once for these very things, then read from `folder`."""
    cache = folder / f"sprites-{hashlib.sha256(repr(things).encode()).hexdigest()[:8]}.npz"
    if not cache.exists():
        icons = IconSet(folder)
        arrays: Any = {key: picture for thing in things for key, picture in icons.draw_thing(thing)}
        np.savez(cache, **arrays)
    sprites: dict[str, dict[str, list[np.ndarray]]] = {}
    with np.load(cache) as stored:
        for key in stored.files:
            noun, style, _, _ = key.split("|")
            sprites.setdefault(noun, {}).setdefault(style, []).append(stored[key])
    return sprites
