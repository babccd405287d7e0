"""Publishes a finished run to a model repository: idempotent, so that any doubt is settled by doing it again.

The remote tree is compared with what is meant before each commit and after it. A commit whose answer was lost is found
there; a second one is never made for the same content. Files that this app did not write stay as they are.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from jobs.hub.client import CLIENT_ERRORS, explain, hub_errors, is_slow, open_hub, read_account
from jobs.publishing.repository import CARD_FILE, RECORD_FILE, Content, Identity, concept_of, repository_files
from trainer.artifact import read_manifest
from trainer.bases import HUB_ID
from trainer.errors import HubError, HubTrouble, RequestError
from trainer.run_folder import RunFolder

log = logging.getLogger(__name__)
_ROUNDS = 4
_NOT_TO_BE_SEEN = frozenset({HubTrouble.missing, HubTrouble.forbidden, HubTrouble.refused})
_GIT_FILES = {".gitattributes"}
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True)
class Published:
    """Where a concept is now, confirmed by its remote hashes."""

    repo_id: str
    commit: str
    url: str


@dataclass(frozen=True)
class _Remote:
    """A repository's main branch: its newest commit and its files, and whether only its owner sees them."""

    commit: str
    private: bool
    files: dict[str, RepoFile]
    record: dict[str, Identity]
    """What this app wrote there before."""
    concept: str
    """Of which concept; empty where nothing says it."""


def check_repo_id(repo_id: str) -> str:
    """`owner/name` if the Hub allows it. Raises RequestError, in words, where it does not."""
    owner, slash, name = repo_id.partition("/")
    if not slash or not owner or not name or "/" in name:
        raise RequestError("Name the repository as OWNER/NAME.")
    if len(repo_id) > 96:
        raise RequestError("OWNER/NAME may have 96 characters on the Hub.")
    for part in (owner, name):
        if not _NAME.fullmatch(part) or "--" in part or ".." in part or part.endswith(".git"):
            raise RequestError(
                f"The Hub does not allow the name {part!r}: use letters, digits, '-', '_' and '.', no '--' or '..', "
                "none of them at the ends, and no '.git'."
            )
    return repo_id


def settle_visibility(repo_id: str, token: str, *, private: bool, holds_it: bool = False) -> None:
    """Raise HubError where the repository exists and is not as private as it should be, or the Hub cannot say.

    `holds_it`: the concept was published there, so its owner shows or hides it by publishing it otherwise.
    """
    hub = open_hub(token)
    with hub_errors(what=repo_id):
        try:
            found = bool(hub.model_info(repo_id).private)
        except RepositoryNotFoundError:
            return
        if holds_it and found is not private:
            hub.update_repo_settings(repo_id, private=private)
            return
    _check_visibility(repo_id, wanted=private, found=found)


def publish(run: RunFolder, repo_id: str, token: str | None, *, private: bool = True) -> Published:
    """Bring the repository to what the run's artifact says, and confirm it.

    Raises RequestError or ConceptError for what cannot be published, HubError for what the Hub says; whatever was done
    until then stays, and the next call goes on from there.
    """
    check_repo_id(repo_id)
    if not token:
        raise HubError("Sign in to publish.", HubTrouble.sign_in)
    read_account(token).check_may_write(repo_id.split("/")[0])
    hub = open_hub(token)
    manifest = read_manifest(run.artifact)
    files = repository_files(run, repo_id, base_licence=_base_licence(hub, manifest.base.name))
    with hub_errors(what=repo_id):
        hub.create_repo(repo_id, private=private, exist_ok=True)
        commit = _bring_up_to(hub, repo_id, files, concept_of(manifest), private=private)
    return Published(repo_id, commit, f"{hub.endpoint}/{repo_id}")


def _bring_up_to(hub: HfApi, repo_id: str, files: dict[str, Content], concept: str, *, private: bool) -> str:
    """Commit what differs until nothing does; returns the commit that holds it all."""
    doubt: Exception | None = None
    for _ in range(_ROUNDS):
        remote = _read_remote(hub, repo_id)
        _check_visibility(repo_id, wanted=private, found=remote.private)
        if remote.concept not in ("", concept):
            raise HubError(f"{repo_id} holds {remote.concept}; publish under another name.", HubTrouble.taken)
        meant = _without_conflicts(repo_id, files, remote)
        operations = _operations(meant, remote)
        if not operations:
            return remote.commit
        try:
            hub.create_commit(
                repo_id,
                operations,
                commit_message="Publish concept",
                parent_commit=remote.commit,
            )
        except CLIENT_ERRORS as error:
            doubt = error
            if explain(error, what=repo_id).trouble is not HubTrouble.later or is_slow(error):
                raise
            log.info("publishing %s: %s; comparing again", repo_id, type(error).__name__)
    raise doubt or HubError(f"Somebody else keeps changing {repo_id}.", HubTrouble.later)


def _check_visibility(repo_id: str, *, wanted: bool, found: bool) -> None:
    """Whether a repository is private as it should be: to create one that is there already changes nothing of that."""
    if wanted is not found:
        asked, is_now = ("private", "public") if wanted else ("public", "private")
        text = (
            f"{repo_id} exists and is {is_now}. Choose another name, make it {asked} on the Hub, or publish {is_now}ly."
        )
        raise HubError(text, HubTrouble.taken)


def _read_remote(hub: HfApi, repo_id: str) -> _Remote:
    info = hub.model_info(repo_id)
    commit = str(info.sha)
    tree = hub.list_repo_tree(repo_id, recursive=True, revision=commit)
    files = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    record, concept = _read_record(hub, repo_id, commit) if RECORD_FILE in files else ({}, "")
    return _Remote(commit, bool(info.private), files, record, concept)


def _read_record(hub: HfApi, repo_id: str, commit: str) -> tuple[dict[str, Identity], str]:
    client: Any = hub  # some of its annotations are open
    with TemporaryDirectory() as folder:
        path = Path(client.hf_hub_download(repo_id, RECORD_FILE, revision=commit, local_dir=folder))
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            files = {str(f): Identity(str(known["sha256"]), str(known["git"])) for f, known in record["files"].items()}
            return files, str(record.get("concept", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            return {}, ""  # then nothing there counts as ours


def _without_conflicts(repo_id: str, files: dict[str, Content], remote: _Remote) -> dict[str, Content]:
    """What may be written. A card that a person has edited stays theirs; any other foreign file is a conflict."""
    meant = dict(files)
    if CARD_FILE in remote.files and not _is_ours(CARD_FILE, files, remote):
        del meant[CARD_FILE]
    foreign = [path for path in meant if path in remote.files and not _is_ours(path, files, remote)]
    strangers = set(remote.files) - _GIT_FILES - {CARD_FILE} - set(files) - set(remote.record)
    if foreign or (strangers and not remote.record):
        raise HubError(
            f"{repo_id} holds files that this app did not write; publish under another name.", HubTrouble.taken
        )
    return meant


def _is_ours(path: str, files: dict[str, Content], remote: _Remote) -> bool:
    """Whether the remote file is what this app wrote, now or before."""
    entry = remote.files[path]
    known = [files[path].identity, *([remote.record[path]] if path in remote.record else [])]
    return path == RECORD_FILE or any(_is(entry, identity) for identity in known)


def _operations(meant: dict[str, Content], remote: _Remote) -> list[CommitOperationAdd | CommitOperationDelete]:
    """Additions for what is missing or different, deletions for what an earlier version of the concept had.

    A file that somebody has put in the place of one of ours is theirs, and stays.
    """
    operations: list[CommitOperationAdd | CommitOperationDelete] = []
    for path, content in meant.items():
        if path not in remote.files or not _is(remote.files[path], content.identity):
            source = content.source if isinstance(content.source, bytes) else str(content.source)
            operations.append(CommitOperationAdd(path, source))
    ours = [path for path, known in remote.record.items() if path in remote.files and _is(remote.files[path], known)]
    stale = [path for path in ours if path not in meant and path != CARD_FILE]
    return [*operations, *(CommitOperationDelete(path) for path in stale)]


def _is(entry: RepoFile, identity: Identity) -> bool:
    return entry.lfs.sha256 == identity.sha256 if entry.lfs is not None else entry.blob_id == identity.git


def _base_licence(hub: HfApi, base: str) -> str | None:
    """The licence that the base model's own card names, where this token may see it.

    Raises HubError where that is not known at the moment: what the card says would stand there for ever.
    """
    if not HUB_ID.fullmatch(base):
        return None
    try:
        with hub_errors(what=base):
            card = hub.model_info(base).card_data
    except HubError as error:
        if error.trouble not in _NOT_TO_BE_SEEN:
            raise
        return None
    return str(card.license) if card is not None and card.license else None
