"""Looks a concept made elsewhere over before it is queued: what it is, whether it fits the base, at which commit.

Of a repository nothing but a listing and the header of one file is fetched here; the job fetches the rest.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, NotASafetensorsRepoError, SafetensorsParsingError

from jobs.hub.client import TIMEOUT_S, hub_errors, open_hub, read_account
from jobs.submission.preflight import BaseChecker, check_hub_base
from trainer.artifact import Manifest, read_manifest
from trainer.bases import BaseReference, BaseTraits, find_base, how_to_open
from trainer.errors import ConceptError, WeightsError
from trainer.imports.hub_choice import WHOLE_FOLDER, choose_file
from trainer.imports.publications import TAG, may_be_publication, said_by
from trainer.imports.recognise import (
    Recognised,
    check_fit,
    check_prediction,
    check_size,
    check_width,
    recognise,
    recognise_file,
)
from trainer.imports.task import ImportTask, build_task, hub_values, source_values
from trainer.imports.weights_file import Header, TensorShape
from trainer.recipe.choices import DEFAULT_CLASS_WORD, STARTER, Kind, Method
from trainer.run_folder import MANIFEST_FILE
from trainer.single_file_base import inspect_local

_MOST_LISTED = 50


@dataclass(frozen=True)
class Wish:
    """What a person says about a concept that should come in; `class_word` None: the kind's own.

    `base_prediction` is for a 2.x model that is one file, the base or what comes in, and does not say it itself.
    """

    source: str
    name: str
    kind: str = Kind.object.value
    class_word: str | None = None
    base: str = STARTER
    base_prediction: str | None = None
    base_revision: str | None = None

    def corrected(self, manifest: Manifest) -> Wish:
        """As what this app published says itself; an embedding's name and another base are a person's to choose."""
        said: dict[str, Any] = said_by(manifest)
        if manifest.method is Method.textual_inversion and self.name:
            said.pop("name")
        if self.base.strip() not in ("", STARTER):
            said = {name: value for name, value in said.items() if not name.startswith("base")}
        return replace(self, **said)


@dataclass(frozen=True)
class Bringing:
    """Ready to be queued: the task, and the file that it takes in, where it is one of this machine."""

    task: ImportTask
    file: Path | None


class Importer:
    """Looks things over with the token of whoever asks, else with the machine's, or as nobody."""

    def __init__(self, bases: BaseChecker, token: str | None) -> None:
        self._bases, self._token = bases, token

    def judge_file(self, wish: Wish, file: Path, *, shown_name: str, token: str | None = None) -> Bringing:
        """Judge a file of this machine. Raises RecipeError, BaseModelError or WeightsError, each in words."""
        values, reference, traits = self._about_base(wish, token)
        recognised = recognise_file(file)
        check_fit(recognised, traits, reference.name)
        check_prediction(recognised, wish.base_prediction)
        task = _task(wish, values | {"origin": shown_name, "method": recognised.method})
        return Bringing(task, file)

    def judge_source(self, wish: Wish) -> Bringing:
        """Judge FILE, HUB_ID or HUB_ID:FILE, for the command line of the machine's owner."""
        said, file = source_values(wish.source)
        return self.judge_file(wish, file, shown_name=str(said["origin"])) if file else self.judge_hub(wish)

    def judge_hub(self, wish: Wish, token: str | None = None) -> Bringing:
        """Judge HUB_ID or HUB_ID:FILE. Raises as `judge_file` does, and HubError where the Hub does not answer.

        What this app published itself says what it is, whatever the wish does.
        """
        token = token or self._token
        said = hub_values(wish.source)
        repo_id, wanted = str(said["hub_id"]), said["hub_file"]
        with hub_errors(what=repo_id):
            try:
                commit, chosen, recognised, manifest = self._look(repo_id, str(wanted) if wanted else None, token)
            except GatedRepoError as error:
                raise WeightsError(how_to_open(repo_id, open_hub(token).endpoint, token=token)) from error
        if manifest is not None:
            wish = wish.corrected(manifest)
        values, reference, traits = self._about_base(wish, token)
        if recognised is not None:
            check_fit(recognised, traits, reference.name)
            check_prediction(recognised, wish.base_prediction)
        elif chosen == WHOLE_FOLDER:
            model = check_hub_base(BaseReference(repo_id, revision=commit), token).traits
            check_width("model", model.text_width, traits, reference.name)
        method = recognised.method if recognised else Method.dreambooth if chosen == WHOLE_FOLDER else None
        values |= {"origin": f"{repo_id}/{chosen}".rstrip("/"), "method": method or Method.textual_inversion}
        values |= {"hub_id": repo_id, "hub_revision": commit, "hub_file": chosen or None}
        return Bringing(_task(wish, values), None)

    def publications(self, token: str | None) -> list[str]:
        """What this app published for the account of a token, else the machine's, the newest first. Raises HubError."""
        token = token or self._token
        if token is None:
            return []
        account = read_account(token)
        with hub_errors(what="your account"):
            found = open_hub(token).list_models(
                author=account.name, filter=TAG, sort="last_modified", limit=_MOST_LISTED
            )
            return [model.id for model in found]

    def _about_base(self, wish: Wish, token: str | None) -> tuple[dict[str, object], BaseReference, BaseTraits]:
        """The base's values of a task, and its traits."""
        reference = find_base(wish.base.strip() or STARTER, wish.base_revision, wish.base_prediction)
        values: dict[str, object] = {"base": reference.name, "base_prediction": wish.base_prediction}
        if not reference.on_hub:
            return values, reference, inspect_local(reference)
        found = self._bases.check(reference, token)
        return values | {"base_revision": found.commit}, reference, found.traits

    def _look(
        self, repo_id: str, wanted: str | None, token: str | None
    ) -> tuple[str, str, Recognised | None, Manifest | None]:
        """Commit, chosen file, what it is, where a header says so (pickles are judged when they are here), and says."""
        hub = open_hub(token)
        info = hub.model_info(repo_id, files_metadata=True)
        if info.gated:  # a pickle is not looked into here, and its refusal would come late
            hub.auth_check(repo_id)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
        chosen = choose_file(sizes, wanted, repo_id)
        commit = str(info.sha)
        manifest = _own_manifest(hub, repo_id, commit) if may_be_publication(sizes) else None
        if not chosen.endswith(".safetensors"):
            return commit, chosen, None, manifest
        recognised = recognise(_remote_header(hub, repo_id, chosen, commit))
        check_size(recognised.form, sizes[chosen])
        return commit, chosen, recognised, manifest


def _own_manifest(hub: HfApi, repo_id: str, commit: str) -> Manifest | None:
    """What a repository's artifact.json says; None for somebody else's file of that name. It is kept nowhere."""
    client: Any = hub  # some of its annotations are open
    with tempfile.TemporaryDirectory() as aside:
        client.hf_hub_download(repo_id, MANIFEST_FILE, revision=commit, local_dir=aside)
        try:
            return read_manifest(Path(aside))
        except ConceptError:
            return None


def _remote_header(hub: HfApi, repo_id: str, file: str, commit: str) -> Header:
    """A first look; the file is judged strictly, byte by byte, when it is here."""
    try:
        parsed = hub.parse_safetensors_file_metadata(repo_id, file, revision=commit, timeout=TIMEOUT_S)
    except (NotASafetensorsRepoError, SafetensorsParsingError, KeyError, TypeError) as error:
        raise WeightsError(f"{file} is not a safetensors file, whatever its name says.") from error
    metadata: Any = parsed.metadata
    tensors = {name: TensorShape(str(tensor.dtype), tuple(tensor.shape)) for name, tensor in parsed.tensors.items()}
    return Header(tensors, {str(key): str(text) for key, text in metadata.items()})


def _task(wish: Wish, values: dict[str, object]) -> ImportTask:
    kind = wish.kind if wish.kind in set(Kind) else Kind.object
    class_word = DEFAULT_CLASS_WORD[Kind(kind)] if wish.class_word is None else wish.class_word.strip()
    about = {"task": "import", "name": wish.name.strip(), "kind": wish.kind, "class_word": class_word}
    task = build_task(about | values)
    assert isinstance(task, ImportTask)
    return task
