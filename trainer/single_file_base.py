"""A base model that is one .safetensors file: what it is, and which configuration goes with it. Light: no torch.

The file holds weights alone. Its configuration comes from a folder of the same name beside it, in diffusers format and
with or without weights, or else from the well-known base of its width. What a 2.x model predicts (noise or v) cannot be
read from weights: the person, the file's metadata or that folder must say it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from trainer.bases import PINNED, BaseReference, BaseTraits, FamilyName, inspect_base, is_loaded, read_json
from trainer.errors import BaseModelError, WeightsError
from trainer.imports.recognise import TWO_KINDS, Form, recognise
from trainer.imports.weights_file import read_header

_SD1, _SD2, _XL = PINNED
_CONFIGURED_BY = {768: _SD1, 1024: _SD2, 2048: _XL}
_SPACING, _PIECE = 2**20, 2**12  # close enough to meet every large layer: some edits change a few kinds of them only


@dataclass(frozen=True)
class SingleFile:
    """A file that can be a base. `configuration` is a folder here, or the Hub id whose configuration fits."""

    file: Path
    width: int
    prediction: str
    configuration: Path | str
    is_xl: bool = False
    ends_in_noise: bool = False
    """Its noisiest timestep is noise alone."""

    @property
    def key(self) -> str:
        """Names the model by size, header and pieces from all over its weights, and by a configuration of its own.

        A copy has the same. Configurations on the Hub are pinned: they go with the width, and need not be named.
        """
        status = self.file.stat()
        content = _digest(self.file, status.st_size, status.st_mtime_ns)
        own = f" {_configuration_digest(self.configuration)}" if isinstance(self.configuration, Path) else ""
        return hashlib.sha256(f"{self.prediction} {content}{own}".encode()).hexdigest()[:24]


@lru_cache(maxsize=32)
def _digest(path: Path, size: int, _changed_ns: int) -> str:
    """Of a file as it was at that moment; the page asks again at every look at the plan."""
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(8 + int.from_bytes(file.read(8), "little")))
        for start in range(0, size, _SPACING):
            file.seek(start)
            digest.update(file.read(_PIECE))
    return digest.hexdigest()


def _configuration_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.json"), *folder.glob("*/*.json"), *folder.glob("*/*.txt")]):
        name = path.relative_to(folder).as_posix()
        if is_loaded(name):
            digest.update(f"{name} {path.stat().st_size}".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def judge_single_file(reference: BaseReference) -> SingleFile:
    """Look at a base's file. Raises BaseModelError, in words, for one that cannot be used or leaves a question."""
    assert reference.file is not None
    try:
        found = recognise(read_header(reference.file))
    except (WeightsError, OSError) as error:
        raise BaseModelError(f"{reference.file.name} cannot be a base. {error}") from error
    if found.form is not Form.original or found.width is None:
        raise BaseModelError(f"{reference.file.name} is not a whole model but an addition to one; it cannot be a base.")
    configuration = _configuration(reference.file, found.width)
    prediction = reference.prediction or found.prediction or _configured_prediction(configuration)
    if prediction is None and found.width == 1024:
        raise BaseModelError(f"{reference.file.name} is {TWO_KINDS}")
    return SingleFile(
        reference.file, found.width, prediction or "epsilon", configuration, found.is_xl, found.ends_in_noise
    )


def _configuration(file: Path, width: int) -> Path | str:
    beside = file.with_suffix("")
    if (beside / "model_index.json").is_file():
        return beside
    if width in _CONFIGURED_BY:
        return _CONFIGURED_BY[width]
    raise BaseModelError(
        f"{file.name} is {width} numbers wide, so it is none of Stable Diffusion 1.x (768), 2.x (1024) and XL (2048). "
        f"Put the configuration that it was made with beside it, as the folder {beside.name}."
    )


def _configured_prediction(configuration: Path | str) -> str | None:
    if isinstance(configuration, str):
        return None
    scheduler = read_json(configuration / "scheduler" / "scheduler_config.json", "incomplete: its scheduler is missing")
    return str(scheduler.get("prediction_type", "epsilon"))


def inspect_local(reference: BaseReference) -> BaseTraits:
    """The traits of a base on this machine: a folder, or a file before it was converted. Raises BaseModelError."""
    if reference.folder is not None:
        return inspect_base(reference.folder)
    single = judge_single_file(reference)
    size = 768 if (single.width, single.prediction) == (1024, "v_prediction") else 512
    if single.is_xl:
        size = 1024
    if isinstance(single.configuration, Path):
        unet = read_json(single.configuration / "unet" / "config.json", "incomplete: unet/config.json is missing")
        vae = read_json(single.configuration / "vae" / "config.json", "incomplete: vae/config.json is missing")
        size = int(unet.get("sample_size", 64)) * 2 ** (len(vae.get("block_out_channels", [0, 0, 0, 0])) - 1)
    family: FamilyName = "stable-diffusion-xl" if single.is_xl else "stable-diffusion"
    return BaseTraits(family, size, single.prediction, f"file-{single.key}", text_width=single.width)
