"""What a published concept's repository holds: every file by its path, made from a finished run."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from jobs.hub.client import redacted
from jobs.publishing.card import Samples, build_card, public_recipe
from trainer.artifact import Manifest, check_hashes, read_manifest
from trainer.bases import public_base_name
from trainer.imports.task import has_task
from trainer.photos.intake import PhotoSet, read_dataset
from trainer.run_folder import MANIFEST_FILE, RunFolder

RECORD_FILE = "concept-studio.json"
"""Says of which concept, and lists what this app wrote, with hashes: on a later publish nothing else is touched."""
CARD_FILE = "README.md"


@dataclass(frozen=True)
class Identity:
    """A file's content by its names on the Hub: as Git LFS knows it, and as git knows a small file."""

    sha256: str
    git: str


@dataclass(frozen=True)
class Content:
    """One file: from the disk, or made for the repository."""

    source: Path | bytes

    @cached_property
    def identity(self) -> Identity:
        if isinstance(self.source, bytes):
            return _identity(io.BytesIO(self.source), len(self.source))
        with self.source.open("rb") as stream:
            return _identity(stream, self.source.stat().st_size)


def _identity(stream: BinaryIO, size: int) -> Identity:
    sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    while block := stream.read(2**20):
        sha256.update(block)
        git.update(block)
    return Identity(sha256.hexdigest(), git.hexdigest())


def repository_files(run: RunFolder, repo_id: str, *, base_licence: str | None) -> dict[str, Content]:
    """All files of the repository, the record among them. Raises ConceptError or VerificationError."""
    manifest = read_manifest(run.artifact)
    check_hashes(run.artifact, manifest)
    files = {entry.path: Content(run.artifact / entry.path) for entry in manifest.files}
    samples, pictures = _samples(run)
    files |= pictures
    card = build_card(manifest, _photos(run), samples, repo_id=repo_id, base_licence=base_licence)
    files[CARD_FILE] = Content(card.encode())
    files[MANIFEST_FILE] = Content(public_manifest(manifest).encode())
    written = {path: asdict(content.identity) for path, content in sorted(files.items())}
    record = {"concept": concept_of(manifest), "files": written}
    files[RECORD_FILE] = Content((json.dumps(record, indent=2) + "\n").encode())
    return files


def concept_of(manifest: Manifest) -> str:
    """What a repository is of: the same trained again replaces it, another one does not."""
    return f"{manifest.name} ({manifest.method.value})"


def _photos(run: RunFolder) -> PhotoSet:
    """What it was trained on; nothing for a concept from elsewhere."""
    return PhotoSet(()) if has_task(run) else read_dataset(run.photos)


def _samples(run: RunFolder) -> tuple[Samples, dict[str, Content]]:
    """Previews of the first and of the last step, under names of their own; a concept from elsewhere has no before."""
    by_step = run.previews_by_step()
    if not by_step:
        return Samples([], []), {}
    files: dict[str, Content] = {}
    names: dict[str, list[str]] = {"before": [], "after": []}
    steps = {"after": max(by_step)} if len(by_step) == 1 else {"before": min(by_step), "after": max(by_step)}
    for label, step in steps.items():
        for number, file in enumerate(by_step[step], start=1):
            path = f"samples/{label}-{number}.png"
            names[label].append(path)
            files[path] = Content(file)
    return Samples(names["before"], names["after"]), files


def public_manifest(manifest: Manifest) -> str:
    """artifact.json without the paths of the machine that trained, or a token pasted into a prompt."""
    base = manifest.base.model_copy(update={"name": public_base_name(manifest.base.name)})
    public = manifest.model_copy(update={"base": base, "recipe": public_recipe(manifest)})
    return redacted(public.model_dump_json(indent=2)) + "\n"
