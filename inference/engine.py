"""Holds a base model and the concepts on it, and makes pictures. Swapping concepts does not reload the base."""

from __future__ import annotations

import trainer.engine  # noqa: F401 - first: it quietens the libraries that the imports below bring

# isort: split
import gc
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from inference.catalog import Concept, open_concept
from inference.prompting import encode
from inference.request import ConceptUse, PictureRequest
from inference.weights import spell_weighed, translate_weights
from trainer.artifact import EMBEDDING_FILE, LORA_FILE
from trainer.bases import find_base, inspect_base
from trainer.concept import ConceptWords
from trainer.engine.at_checkpoint import put_checkpoint
from trainer.engine.attention import choose_attention
from trainer.engine.base.files import base_folder
from trainer.engine.device import open_compute
from trainer.engine.export.embeddings import load_embedding, unload_embedding
from trainer.engine.failures import is_gpu_full
from trainer.engine.families import Family, StockPipeline, open_family
from trainer.engine.sampling import MAX_BATCH, SamplerSettings, StartPicture, sample
from trainer.errors import ConceptError
from trainer.photos.decode import decode_photo
from trainer.recipe.choices import Method, Precision

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """Pictures in the order of the request's seeds, what was used, and sentences for the person."""

    pictures: list[Image.Image]
    concepts: list[dict[str, object]]
    notes: list[str]


@dataclass(frozen=True)
class _Loaded:
    """A concept in place; `words` spells it in prompts."""

    use: ConceptUse
    concept: Concept
    words: ConceptWords


class Engine:
    """One pipeline at a time, kept between requests; `cache` is where converted bases lie."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._family: Family | None = None
        self._pipeline: StockPipeline | None = None
        self._identity = ""
        self._loaded: list[_Loaded] = []

    def unload(self) -> None:
        """Give up all memory that models take."""
        self._family = self._pipeline = None
        self._identity, self._loaded = "", []
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def generate(
        self,
        request: PictureRequest,
        step_done: Callable[[int, int], None] | None = None,
        downloaded: Callable[[int, int], None] | None = None,
        *,
        token: str | None = None,
    ) -> Result:
        """Make the pictures. `step_done(done, total)` counts picture-steps of the request; it may raise to stop.

        `downloaded` counts the megabytes of a base that is not here yet, and may raise, too: what came is kept. `token`
        is the Hub's, of whoever asks; None: as this machine is signed in, if it is.

        Raises ConceptError or BaseModelError where the request does not fit together.
        """
        concepts = {use.alias: _concept_of(use) for use in request.concepts}
        whole = next((concept for concept in concepts.values() if concept.is_whole_model), None)
        if whole is not None:  # it stands in for its base, which need not be here any more
            folder, identity = whole.folder, whole.manifest.base.identity
        else:
            reference = find_base(request.base, request.base_revision, request.base_prediction)
            folder = base_folder(reference, self._cache, downloaded, token=token)
            identity = inspect_base(folder).identity
        _check_fit(concepts.values(), identity)
        written = (
            f"{whole.manifest.weights_sha256} {whole.step}" if whole else ""
        )  # a resumed run writes its result anew
        family, pipeline = self._open(folder, f"{folder} {identity} {written}")
        self._swap(request, concepts, pipeline)
        positive, notes = self._spell(request.prompt)
        negative, more_notes = self._spell(request.negative_prompt)
        prompts, unparsed = encode(family, positive, negative)
        start = _start_picture(request)

        def draw(seeds: list[int], begin: int) -> list[Image.Image]:
            return sample(
                family,
                prompts,
                seeds=seeds,
                size=(request.width, request.height),
                sampler=SamplerSettings(request.steps, request.guidance, request.scheduler),
                start=start,
                step_done=_counted(step_done, begin, len(seeds), request.count),
            )

        pictures = _in_batches(request.seeds, draw)
        used = [_describe(loaded) for loaded in self._loaded]
        return Result(pictures, used, [*self._unmentioned(request.prompt), *notes, *more_notes, *unparsed])

    def _unmentioned(self, prompt: str) -> list[str]:
        """A sentence for each concept that is in place and that the prompt does not name."""
        said = prompt.lower()
        return [
            f"{loaded.words.placeholder} is not in the prompt, so it may not show."
            for loaded in self._loaded
            if not any(words.lower() in said for words in (loaded.words.placeholder, loaded.words.trained_words))
        ]

    def _open(self, folder: Path, identity: str) -> tuple[Family, StockPipeline]:
        """The model of a folder, loaded if it is not yet; `identity` says what it must be."""
        if self._family is None or self._pipeline is None or identity != self._identity:
            self.unload()
            compute = open_compute(Precision.auto)
            family = open_family(folder, device=compute.device, dtype=compute.dtype)
            choose_attention(family.unet, compute.dtype)
            self._family, self._pipeline, self._identity = family, family.pipeline(), identity
        return self._family, self._pipeline

    def _swap(self, request: PictureRequest, wanted: Mapping[str | None, Concept], pipeline: StockPipeline) -> None:
        """Put exactly the request's concepts in place, as they are on disk now, and set their weights."""
        for loaded in [entry for entry in self._loaded if wanted.get(entry.use.alias) != entry.concept]:
            _remove(pipeline, loaded)
            self._loaded.remove(loaded)
        present = {entry.use.alias for entry in self._loaded}
        for use in request.concepts:
            if use.alias not in present:
                self._add(pipeline, use, wanted[use.alias])
        by_alias = {use.alias: use for use in request.concepts}
        self._loaded = [replace(entry, use=by_alias[entry.use.alias]) for entry in self._loaded]
        adapters = [entry for entry in self._loaded if entry.concept.manifest.method is Method.dreambooth_lora]
        if adapters:
            pipeline.set_adapters([_adapter_name(e.use) for e in adapters], [e.use.weight for e in adapters])

    def _add(self, pipeline: StockPipeline, use: ConceptUse, concept: Concept) -> None:
        words = replace(concept.manifest.words, alias=use.alias)
        match concept.manifest.method:
            case Method.textual_inversion:
                load_embedding(pipeline, concept.folder / EMBEDDING_FILE, words.placeholder)
            case Method.dreambooth_lora:
                pipeline.load_lora_weights(
                    str(concept.folder), weight_name=LORA_FILE, adapter_name=_adapter_name(use), local_files_only=True
                )
            case Method.dreambooth:
                pass  # it is the loaded model itself
        if concept.step is not None:
            try:
                put_checkpoint(pipeline, concept.run, concept.step, words, _adapter_name(use))
            except ConceptError:
                self.unload()  # the result is in place, or parts of both
                raise
        self._loaded.append(_Loaded(use, concept, words))

    def _spell(self, prompt: str) -> tuple[str, list[str]]:
        """The prompt in trained words and compel's weights."""
        translated = translate_weights(prompt)
        spelt = translated.prompt
        for entry in self._loaded:
            is_embedding = entry.concept.manifest.method is Method.textual_inversion
            spelt = spell_weighed(
                spelt, entry.words.placeholder, entry.words.trained_words, entry.use.weight if is_embedding else 1.0
            )
        return spelt, list(translated.notes)


def _concept_of(use: ConceptUse) -> Concept:
    """The concept as it is on disk now. Raises ConceptError where it was deleted since the request was made."""
    try:
        return open_concept(use.folder, use.step)
    except ConceptError as error:  # the folder that it names says nothing to a visitor
        raise ConceptError(f"The concept <{use.alias}> is not here any more.") from error


def _check_fit(concepts: Iterable[Concept], identity: str) -> None:
    """Raise ConceptError for a concept that was trained on another base."""
    for concept in concepts:
        manifest = concept.manifest
        if manifest.base.identity != identity:
            raise ConceptError(
                f"<{manifest.name}> was trained on {manifest.base.name}; choose that base, or leave the concept out."
            )


def _in_batches(seeds: list[int], draw: Callable[[list[int], int], list[Image.Image]]) -> list[Image.Image]:
    """One picture per seed, several at once; one by one if the GPU has no memory for that.

    `draw(seeds, begin)` draws those from number `begin` on.
    """
    pictures: list[Image.Image] = []
    at_once = MAX_BATCH
    while len(pictures) < len(seeds):
        begin = len(pictures)
        try:
            pictures += draw(seeds[begin : begin + at_once], begin)
        except Exception as error:
            if at_once == 1 or not is_gpu_full(error):
                raise
            log.warning("the GPU has no memory for %d pictures at once; they are drawn one by one", at_once)
            at_once = 1
    return pictures


def _adapter_name(use: ConceptUse) -> str:
    return f"concept-{use.alias}"


def _remove(pipeline: StockPipeline, loaded: _Loaded) -> None:
    match loaded.concept.manifest.method:
        case Method.textual_inversion:
            unload_embedding(pipeline, list(loaded.words.tokens))
        case Method.dreambooth_lora:
            pipeline.delete_adapters([_adapter_name(loaded.use)])
        case Method.dreambooth:
            pass


def _start_picture(request: PictureRequest) -> StartPicture | None:
    return StartPicture(decode_photo(request.init_image), request.strength) if request.init_image else None


def _counted(
    step_done: Callable[[int, int], None] | None, begin: int, size: int, count: int
) -> Callable[[int, int], None] | None:
    """Progress over all batches of a request, from the progress of one."""
    if step_done is None:
        return None
    return lambda done, total: step_done(begin * total + done * size, count * total)


def _describe(loaded: _Loaded) -> dict[str, object]:
    manifest = loaded.concept.manifest
    use, sha256 = loaded.use, manifest.weights_sha256
    described: dict[str, object] = {"name": manifest.name, "alias": use.alias, "weight": use.weight, "sha256": sha256}
    return described | ({"step": use.step} if use.step else {})
