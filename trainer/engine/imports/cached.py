"""Concepts of the Hub that a command line names: taken in once, into the cache, and used from there."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from trainer.artifact import Manifest, read_manifest
from trainer.engine.base.hub_download import DOWNLOAD_ERRORS, Listing, download, list_files, reason_of
from trainer.engine.context import RunContext
from trainer.engine.imports.run import carry_out
from trainer.errors import ConceptError, RequestError
from trainer.imports.publications import may_be_publication, said_by
from trainer.imports.task import build_task, hub_values, prepare_task, read_task, suggested_name
from trainer.machine.locks import one_at_a_time
from trainer.machine.process import StopSignal
from trainer.recipe.choices import STARTER, Kind
from trainer.run_folder import MANIFEST_FILE, RunFolder


def cached_concept(source: str, base: str | None, cache: Path, say: Callable[[str], None]) -> Path:
    """The run folder of HUB_ID or HUB_ID:FILE at its newest commit, taken in if it is not here yet.

    `base` None: the one that its own manifest names, or the starter. Raises WeightsError, ConceptError, BaseModelError.
    """
    values = hub_values(source)
    try:
        listing = list_files(str(values["hub_id"]), None)
        manifest = _own_manifest(listing)
    except DOWNLOAD_ERRORS as error:
        why = f"{source} is not a folder here and cannot be fetched from the Hub: {reason_of(error)}."
        if (here := _newest_here(cache, values, base)) is None:
            raise ConceptError(why) from error
        say(f"{why} What was taken in before is used.")
        return here
    about = _about(source, manifest, base)
    key = hashlib.sha256(f"{source} {listing.commit} {about['base']}".encode()).hexdigest()[:24]
    root = cache / "concepts" / key
    with one_at_a_time(root):
        if not RunFolder(root).has_result:
            shutil.rmtree(root, ignore_errors=True)
            say(f"{source} is being taken in.")
            run = prepare_task(root, build_task({"task": "import", **values, "hub_revision": listing.commit, **about}))
            carry_out(run, RunContext(run.events, StopSignal(), cache))
    say(f"Prompts call {source} <{about['name']}>.")
    return root


def _newest_here(cache: Path, values: dict[str, object], base: str | None) -> Path | None:
    """What was taken in last of the same file of the same repository, for the base that is asked for if one is."""

    def fits(root: Path) -> bool:
        try:
            task = read_task(RunFolder(root))
        except RequestError:
            return False
        asked = values if base is None else values | {"base": base}
        return all(getattr(task, name, None) == value for name, value in asked.items())

    whole = [manifest.parents[1] for manifest in (cache / "concepts").glob(f"*/artifact/{MANIFEST_FILE}")]
    return max(filter(fits, whole), key=lambda root: root.stat().st_mtime, default=None)


def _own_manifest(listing: Listing) -> Manifest | None:
    """The manifest of a repository that this app published."""
    if not may_be_publication({file.path: file.bytes for file in listing.files}):
        return None
    try:
        return read_manifest(download(listing, lambda path: path == MANIFEST_FILE))
    except ConceptError:
        return None  # somebody else's file of that name


def _about(source: str, manifest: Manifest | None, base: str | None) -> dict[str, object]:
    """What a person would have said about it."""
    if manifest is None:
        return {"name": suggested_name(source), "kind": Kind.object, "base": base or STARTER}
    about = {"base": STARTER, **said_by(manifest)}
    if base is None:
        return about
    return about | {"base": base, "base_revision": None, "base_prediction": None}
