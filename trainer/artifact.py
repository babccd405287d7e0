"""The manifest of an artifact: what was trained or taken in, on what, and the hash of every file. Light: no torch."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from trainer.bases import FamilyName
from trainer.concept import ConceptWords, words_of
from trainer.errors import ConceptError, VerificationError
from trainer.inside_paths import InsidePath
from trainer.recipe.choices import Kind, Method
from trainer.recipe.config import TrainConfig
from trainer.run_folder import MANIFEST_FILE
from trainer.whole_files import write_model

EMBEDDING_FILE = "learned_embeds.safetensors"
LORA_FILE = "pytorch_lora_weights.safetensors"


class BaseUsed(BaseModel):
    """The base model that a concept was trained on; `identity` names its exact weights."""

    model_config = ConfigDict(frozen=True)

    name: str
    revision: str | None
    identity: str
    prediction: str | None = None
    """What the person said that a single-file base predicts, where nothing else tells."""
    family: FamilyName = "stable-diffusion"


class Origin(BaseModel):
    """Where a concept that was not trained here comes from, in words that hold no path of this machine."""

    model_config = ConfigDict(frozen=True)

    how: Literal["file", "hub", "extracted"]
    name: str
    """The file's name, the Hub id with the file in it, or the name of the concept that it was extracted from."""
    revision: str | None = None
    sha256: str | None = None
    """Of the one file that came in; None where it was a folder of several."""
    note: str = ""

    @property
    def words(self) -> str:
        """ "imported from cat.pt", "extracted from red-mug"."""
        return f"{'extracted' if self.how == 'extracted' else 'imported'} from {self.name}"


class FileEntry(BaseModel):
    """One file of an artifact, by its path inside it."""

    model_config = ConfigDict(frozen=True)

    path: InsidePath
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """artifact.json. A concept from elsewhere has an origin, 0 steps and no recipe."""

    model_config = ConfigDict(frozen=True)

    version: int = 1
    method: Method
    kind: Kind
    name: str
    class_word: str
    placeholder: str
    trained_words: str
    vectors: int
    base: BaseUsed
    resolution_px: int
    steps: int
    made: datetime = Field(default_factory=lambda: datetime.now(UTC))
    files: list[FileEntry]
    recipe: dict[str, Any] = {}
    origin: Origin | None = None
    versions: dict[str, str]

    @property
    def words(self) -> ConceptWords:
        return ConceptWords(self.name, self.method, self.class_word, self.vectors)

    @property
    def words_in_diffusers(self) -> str:
        """What a prompt for a stock pipeline says; it expands a placeholder to all of its tokens by itself."""
        return self.placeholder if self.method is Method.textual_inversion else self.trained_words

    @property
    def words_in_a1111(self) -> str:
        """What a prompt in AUTOMATIC1111 says; an embedding's trigger is the name of its file, a LoRA is named, too."""
        match self.method:
            case Method.textual_inversion:
                return self.name
            case Method.dreambooth_lora:
                return f"<lora:{self.name}:1> {self.trained_words}"
            case Method.dreambooth:
                return self.trained_words

    @property
    def words_in_comfyui(self) -> str:
        """What a prompt in ComfyUI says; LoRAs and models are loaded by nodes there."""
        return f"embedding:{self.name}" if self.method is Method.textual_inversion else self.trained_words

    @property
    def weights_sha256(self) -> str:
        """Of the largest file, which holds what was trained: it tells this result from every other."""
        return max(self.files, key=lambda file: file.bytes).sha256

    @property
    def total_bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def portable_file(folder: Path, name: str) -> Path:
    """The file of an artifact for tools that know no folders: AUTOMATIC1111, ComfyUI. Its name is what they show."""
    return folder / f"{name}.safetensors"


def list_files(folder: Path) -> list[FileEntry]:
    """Every file of an artifact but the manifest itself, hashed."""
    return [
        FileEntry(path=file.relative_to(folder).as_posix(), bytes=file.stat().st_size, sha256=sha256_of(file))
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST_FILE
    ]


def describe_artifact(
    recipe: TrainConfig,
    folder: Path,
    base_identity: str,
    *,
    steps: int,
    versions: dict[str, str],
    family: FamilyName = "stable-diffusion",
) -> Manifest:
    """The manifest of what a recipe left in `folder` after `steps` steps."""
    words = words_of(recipe)
    return Manifest(
        method=recipe.method,
        kind=recipe.kind,
        name=recipe.name,
        class_word=recipe.class_word,
        placeholder=words.placeholder,
        trained_words=words.trained_words,
        vectors=words.vectors,
        base=BaseUsed(
            name=recipe.base,
            revision=recipe.base_revision,
            identity=base_identity,
            prediction=recipe.base_prediction,
            family=family,
        ),
        resolution_px=recipe.resolution_px,
        steps=steps,
        files=list_files(folder),
        recipe=recipe.model_dump(mode="json"),
        versions=versions,
    )


def describe_brought_in(
    words: ConceptWords, kind: Kind, folder: Path, base: BaseUsed, origin: Origin, *, resolution_px: int
) -> Manifest:
    """The manifest of a concept in `folder` that was not trained here."""
    return Manifest(
        method=words.method,
        kind=kind,
        name=words.name,
        class_word=words.class_word,
        placeholder=words.placeholder,
        trained_words=words.trained_words,
        vectors=words.vectors,
        base=base,
        resolution_px=resolution_px,
        steps=0,
        files=list_files(folder),
        origin=origin,
        versions={},
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_model(folder / MANIFEST_FILE, manifest)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an artifact folder. Raises ConceptError where there is none that can be read."""
    try:
        return Manifest.model_validate(json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConceptError(f"{folder} holds no finished concept.") from None
    except (OSError, ValueError) as error:
        raise ConceptError(f"The manifest in {folder} is damaged.") from error


def check_hashes(folder: Path, manifest: Manifest) -> None:
    """Raise VerificationError naming the first file that is missing or not what was written."""
    for entry in manifest.files:
        file = folder / entry.path
        if not file.is_file():
            raise VerificationError(f"{entry.path} is missing from the artifact.", "Resume the run to write it again.")
        if sha256_of(file) != entry.sha256:
            raise VerificationError(
                f"{entry.path} has changed since it was written.", "Resume the run to write it again."
            )


def sha256_of(file: Path) -> str:
    """The hash of a file's content, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
