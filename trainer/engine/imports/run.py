"""Carries out the task of a run folder: from a file, a repository or a full model to a verified artifact."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from trainer.artifact import BaseUsed, Manifest, Origin, describe_brought_in, read_manifest, sha256_of
from trainer.bases import BaseTraits, find_base, inspect_base
from trainer.child_environment import environment_without_secrets
from trainer.concept import ConceptWords
from trainer.engine.base.single_file import convert_single_file
from trainer.engine.context import RunContext, bring_base, waiting_for_hub
from trainer.engine.device import open_compute
from trainer.engine.export.write import Content, export_artifact
from trainer.engine.imports.contents import Adapters, Embedding, WholeModel, read_adapters
from trainer.engine.imports.extract import extract_adapters
from trainer.engine.imports.from_hub import fetch_concept
from trainer.engine.run import verify_run
from trainer.errors import EXIT_REQUEST, ConceptError, VerificationError, WeightsError
from trainer.events import Finished, Phase, PhaseChanged
from trainer.imports.recognise import Form, Recognised, check_fit, check_prediction, check_width, recognise_file
from trainer.imports.task import ExtractTask, ImportTask, read_task
from trainer.imports.unpickle import TIME_S
from trainer.imports.weights_file import is_torch_zip
from trainer.machine.process import spawn
from trainer.recipe.choices import Method, Precision
from trainer.recipe.presets import MOST_PX
from trainer.run_folder import RunFolder
from trainer.single_file_base import SingleFile
from trainer.whole_files import opened_whole


@dataclass(frozen=True)
class _Base:
    """The base that a concept belongs to, brought here."""

    folder: Path
    traits: BaseTraits
    used: BaseUsed


def carry_out(run: RunFolder, context: RunContext) -> None:
    """Write and verify the artifact that the task asks for.

    Raises WeightsError for what is not taken in, VerificationError for what makes no picture, TrainingStopped after a
    requested stop.
    """
    began = time.monotonic()
    context.emit(PhaseChanged(phase=Phase.prepare))
    task = read_task(run)
    base = _bring_base(run, task, context)
    picture = _extract(run, task, base, context) if isinstance(task, ExtractTask) else _import(run, task, base, context)
    _conclude(run, picture, context, began)


def verify_task(run: RunFolder, context: RunContext) -> None:
    """Verify what a task has left already, and do what a kill right after that left undone.

    Raises ConceptError or VerificationError.
    """
    began = time.monotonic()
    for phase in (Phase.prepare, Phase.verify):
        context.emit(PhaseChanged(phase=phase))
    _conclude(run, verify_run(run, context.cache), context, began)


def _conclude(run: RunFolder, picture: Image.Image, context: RunContext, began: float) -> None:
    """After the artifact has its place: keep the picture, which is all there is to show of it, and tidy up."""
    with opened_whole(run.preview_file(0, 0)) as whole:
        picture.save(whole, "PNG")
    for brought in (run.source, run.download):
        shutil.rmtree(brought, ignore_errors=True)
    context.emit(Finished(artifact=run.relative(run.artifact), seconds=round(time.monotonic() - began, 1)))


def _bring_base(run: RunFolder, task: ImportTask | ExtractTask, context: RunContext) -> _Base:
    reference = find_base(task.base, task.base_revision, task.base_prediction)
    folder = bring_base(run, reference, context)
    traits = inspect_base(folder)
    commit = folder.name if reference.on_hub and folder.parent.name == "snapshots" else None
    used = BaseUsed(
        name=task.base,
        revision=commit,
        identity=traits.identity,
        prediction=task.base_prediction,
        family=traits.family,
    )
    return _Base(folder, traits, used)


def _extract(run: RunFolder, task: ExtractTask, base: _Base, context: RunContext) -> Image.Image:
    source = read_manifest(RunFolder(task.source).artifact)
    if source.method is not Method.dreambooth:
        raise ConceptError("A LoRA is extracted from a full model; this concept is not one.")
    if source.base.identity != base.traits.identity:
        raise ConceptError(f"The base {task.base} is not the one that {source.name} was trained on any more.")
    device = open_compute(Precision.auto).device
    if device.type == "mps":  # it has no float64
        device = torch.device("cpu")
    extracted = extract_adapters(RunFolder(task.source).artifact, base.folder, task.rank, device)
    note = f"rank {task.rank}; {extracted.kept * 100:.1f} % of the change kept (Frobenius norm)"
    origin = Origin(how="extracted", name=source.name, note=note)
    words = ConceptWords(task.name, Method.dreambooth_lora, task.class_word)
    return _export(run, Adapters(task.name, extracted.adapted, base.folder), words, task, base, origin, context)


def _import(run: RunFolder, task: ImportTask, base: _Base, context: RunContext) -> Image.Image:
    if task.hub_id is not None:
        progress, patience = waiting_for_hub(run, context)
        found = fetch_concept(task, progress, patience, context.token, run.download)
        origin = Origin(how="hub", name=found.name, revision=found.commit, sha256=_hash(found.path))
        path = found.path
    else:
        (path,) = run.source.glob("weights.*")
        origin = Origin(how="file", name=task.origin, sha256=_hash(path))
    content, words = _content(run, task, path, base)
    return _export(run, content, words, task, base, origin, context)


def _hash(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None


def _content(run: RunFolder, task: ImportTask, path: Path, base: _Base) -> tuple[Content, ConceptWords]:
    """What lies at `path`, judged, fitted to the base and opened."""
    if path.is_dir():
        check_width("model", inspect_base(path).text_width, base.traits, task.base)
        return WholeModel(task.name, path), ConceptWords(task.name, Method.dreambooth, task.class_word)
    recognised = recognise_file(path)
    if is_torch_zip(path):
        run.source.mkdir(exist_ok=True)
        path = _unpickled(path, run.source / "converted.safetensors")
        recognised = recognise_file(path)
    check_fit(recognised, base.traits, task.base)
    words = ConceptWords(task.name, recognised.method, task.class_word, recognised.vectors)
    match recognised.form:
        case Form.embedding:
            return Embedding(words, path, recognised), words
        case Form.lora:
            return read_adapters(task.name, path, recognised, base.folder), words
        case Form.original:
            check_prediction(recognised, task.base_prediction)
            prediction = task.base_prediction or recognised.prediction or base.traits.prediction
            folder = _as_folder(path, recognised, prediction, base, run.source / "converted")
            return WholeModel(task.name, folder), words


def _unpickled(source: Path, target: Path) -> Path:
    """Convert in a process of its own, with limits. Raises WeightsError with what that process says."""
    log = target.with_suffix(".txt")
    log.unlink(missing_ok=True)
    arguments = ["trainer.imports.unpickle", str(source), str(target)]
    child = spawn(arguments, environment=environment_without_secrets(), log=log)
    try:
        code = child.wait(2 * TIME_S)
    finally:
        if child.exit_code is None:
            child.kill()
    if code is None:
        raise WeightsError("It could not be opened within two minutes.")
    if code != 0:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        words = said[-1] if code == EXIT_REQUEST and said else "It could not be opened within its limits."
        raise WeightsError(words)
    return target


def _as_folder(file: Path, recognised: Recognised, prediction: str, base: _Base, folder: Path) -> Path:
    """An original checkpoint in diffusers format, with the base's configuration, predicting and noised as it says."""
    assert recognised.width is not None
    single = SingleFile(
        file, recognised.width, prediction, base.folder, recognised.is_xl, ends_in_noise=recognised.ends_in_noise
    )
    shutil.rmtree(folder, ignore_errors=True)
    convert_single_file(single, base.folder, folder)
    return folder


def _export(
    run: RunFolder,
    content: Content,
    words: ConceptWords,
    task: ImportTask | ExtractTask,
    base: _Base,
    origin: Origin,
    context: RunContext,
) -> Image.Image:
    size = min(base.traits.resolution_px, MOST_PX)

    def describe(folder: Path) -> Manifest:
        return describe_brought_in(words, task.kind, folder, base.used, origin, resolution_px=size)

    device = open_compute(Precision.auto).device
    try:
        return export_artifact(run, content, describe, base=base.folder, device=device, emit=context.emit)
    except VerificationError as error:
        raise VerificationError(error.cause, "It is not taken in. Was it made on another base?") from error
