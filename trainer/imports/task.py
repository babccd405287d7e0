"""What a run folder is to do where nothing is trained: take a concept in, or extract a LoRA. task.json says it.

Such a folder has no recipe and no photos; its artifact, events and job file are like those of any other.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from trainer.artifact import read_manifest
from trainer.bases import HUB_ID
from trainer.errors import ConceptError, Problem, RecipeError, RequestError, WeightsError
from trainer.imports.recognise import recognise_file
from trainer.imports.weights_file import is_torch_zip
from trainer.photos.intake import shown_name
from trainer.prepare import new_run_folder
from trainer.recipe.choices import LONGEST_NAME, NAME_PATTERN, NAME_RULE, Kind, Method
from trainer.run_folder import RunFolder
from trainer.whole_files import write_model


class _Task(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME_PATTERN, max_length=LONGEST_NAME)
    kind: Kind
    class_word: str = Field("", max_length=60, pattern=r"^[^\n\r<>]*$")
    base: str = Field(min_length=1, max_length=400)
    base_revision: str | None = None
    base_prediction: Literal["epsilon", "v_prediction"] | None = None


class ImportTask(_Task):
    """Take in a file that lies in the run folder's source/, or what a repository of the Hub holds at a commit."""

    task: Literal["import"] = "import"
    method: Method | None = None
    """What it will be, where that is known before everything is here."""
    origin: str = Field(max_length=400)
    """The file's own name, to show; or the Hub id."""
    hub_id: str | None = None
    hub_revision: str | None = None
    hub_file: str | None = None


class ExtractTask(_Task):
    """Extract a LoRA from the full model in another run folder."""

    task: Literal["extract"] = "extract"
    source: Path
    rank: int = Field(ge=1, le=256)

    @property
    def method(self) -> Method:
        return Method.dreambooth_lora

    @property
    def origin(self) -> str:
        return self.name


Task = Annotated[ImportTask | ExtractTask, Field(discriminator="task")]
_ADAPTER: TypeAdapter[ImportTask | ExtractTask] = TypeAdapter(Task)


def build_task(values: dict[str, object]) -> ImportTask | ExtractTask:
    """Validate values into a task. Raises RecipeError naming every field that is wrong."""
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        # what is no task at all, or of no known kind, is at no place inside it
        found = [(str(e["loc"][-1]) if e["loc"] else "task", e) for e in error.errors()]
        raise RecipeError([_problem(field, e["type"], e["msg"]) for field, e in found]) from None


def _problem(field: str, kind: str, message: str) -> Problem:
    if kind in ("string_pattern_mismatch", "string_too_long") and field == "name":
        message = f"use {NAME_RULE}"
    return Problem(field, message)


def has_task(run: RunFolder) -> bool:
    return run.task_file.exists()


def read_task(run: RunFolder) -> ImportTask | ExtractTask:
    """The task of a run folder. Raises RequestError where there is none that can be read."""
    try:
        return build_task(json.loads(run.task_file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecipeError) as error:
        raise RequestError(f"{run.root} holds no readable task.json.") from error


def prepare_task(root: Path, task: ImportTask | ExtractTask, file: Path | None = None) -> RunFolder:
    """A run folder with a task, and the file that it takes in under a name of our own.

    Raises RequestError, leaving nothing behind, where the folder is not empty or the file is not accepted.
    """
    with new_run_folder(root) as run:
        if file is not None:
            recognise_file(file)
            run.source.mkdir()
            shutil.copyfile(file, run.source / f"weights{'.pt' if is_torch_zip(file) else '.safetensors'}")
        write_model(run.task_file, task)
    return RunFolder(root)


def source_values(source: str) -> tuple[dict[str, object], Path | None]:
    """What FILE, HUB_ID or HUB_ID:FILE means: values of an ImportTask, and the file where it is one of this machine.

    Raises WeightsError for anything else.
    """
    try:
        path = Path(source).expanduser()
        is_here = path.is_file()
    except (OSError, RuntimeError):  # too long, no permission, nobody's home
        return hub_values(source), None
    return ({"origin": shown_name(path.name)}, path) if is_here else (hub_values(source), None)


def hub_values(source: str) -> dict[str, object]:
    """What HUB_ID or HUB_ID:FILE means: values of an ImportTask. Raises WeightsError for anything else."""
    repo_id, _, file = source.strip().partition(":")
    if not HUB_ID.fullmatch(repo_id) or ".." in repo_id:
        raise WeightsError(f"{source[:100]!r} is neither a file nor a Hub id such as owner/name or owner/name:file.")
    return {"origin": f"{repo_id}/{file}".rstrip("/"), "hub_id": repo_id, "hub_file": file or None}


def suggested_name(source: str) -> str:
    """A name of ours for a file or repository, as good as it gets."""
    stem = re.split(r"[/:]", source)[-1].rsplit(".", 1)[0] if "." in source else source.rsplit("/", 1)[-1]
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:40].strip("-")


def extraction_of(run: Path, rank: int) -> ExtractTask:
    """The task of extracting a LoRA from a finished run. Raises ConceptError where it holds no full model."""
    manifest = read_manifest(RunFolder(run).artifact)
    if manifest.method is not Method.dreambooth:
        raise ConceptError(f"{manifest.name} is not a full model; only from one can a LoRA be extracted.")
    values: dict[str, object] = {
        "task": "extract",
        "name": manifest.name,
        "kind": manifest.kind,
        "class_word": manifest.class_word,
        "base": manifest.base.name,
        "base_revision": manifest.base.revision,
        "base_prediction": manifest.base.prediction,
        "source": run.resolve(),
        "rank": rank,
    }
    task = build_task(values)
    assert isinstance(task, ExtractTask)
    return task
