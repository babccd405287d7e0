"""The manifest of an artifact: what was trained, on what, and the hash of every file. Light: no torch."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.concept import ConceptWords, words_of
from trainer.config import Kind, Method, TrainConfig
from trainer.errors import ConceptError, VerificationError
from trainer.run_folder import write_whole

MANIFEST_FILE = "artifact.json"
EMBEDDING_FILE = "learned_embeds.safetensors"
LORA_FILE = "pytorch_lora_weights.safetensors"


class BaseUsed(BaseModel):
    """The base model that a concept was trained on; `identity` names its exact weights."""

    model_config = ConfigDict(frozen=True)

    name: str
    revision: str | None
    identity: str


class FileEntry(BaseModel):
    """One file of an artifact, by its path inside it."""

    model_config = ConfigDict(frozen=True)

    path: str
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """artifact.json."""

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
    recipe: dict[str, Any]
    versions: dict[str, str]

    @property
    def words(self) -> ConceptWords:
        return ConceptWords(self.name, self.method, self.class_word, self.vectors)

    @property
    def words_in_diffusers(self) -> str:
        """What a prompt for a stock pipeline says; it expands a placeholder to all of its tokens by itself."""
        return self.placeholder if self.method is Method.textual_inversion else self.trained_words

    @property
    def total_bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def portable_file(folder: Path, name: str) -> Path:
    """The file of an artifact for tools that know no folders: AUTOMATIC1111, ComfyUI. Its name is what they show."""
    return folder / f"{name}.safetensors"


def list_files(folder: Path) -> list[FileEntry]:
    """Every file of an artifact but the manifest itself, hashed."""
    return [
        FileEntry(path=file.relative_to(folder).as_posix(), bytes=file.stat().st_size, sha256=_sha256(file))
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST_FILE
    ]


def describe_artifact(
    recipe: TrainConfig, folder: Path, base_identity: str, *, steps: int, versions: dict[str, str]
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
        base=BaseUsed(name=recipe.base, revision=recipe.base_revision, identity=base_identity),
        resolution_px=recipe.resolution_px,
        steps=steps,
        files=list_files(folder),
        recipe=recipe.model_dump(mode="json"),
        versions=versions,
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_whole(folder / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an artifact folder. Raises ConceptError where there is none that can be read."""
    try:
        return Manifest.model_validate(json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConceptError(f"{folder} holds no finished concept.") from None
    except (OSError, ValueError, ValidationError) as error:
        raise ConceptError(f"The manifest in {folder} is damaged.") from error


def check_hashes(folder: Path, manifest: Manifest) -> None:
    """Raise VerificationError naming the first file that is missing or not what was written."""
    for entry in manifest.files:
        file = folder / entry.path
        if not file.is_file():
            raise VerificationError(f"{entry.path} is missing from the artifact.", "Resume the run to write it again.")
        if _sha256(file) != entry.sha256:
            raise VerificationError(
                f"{entry.path} has changed since it was written.", "Resume the run to write it again."
            )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
