"""Everything that a Hub knows, and the questions that all of its routes ask: who is it, and may they?"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from starlette.requests import Request

from tests.hub.accounts import Accounts, Action, Token
from tests.hub.blobs import BlobStore
from tests.hub.buckets import Bucket
from tests.hub.job_runner import JobRunner
from tests.hub.refusals import Moved, Refusal
from tests.hub.repositories import Kind, Repositories, Repository
from tests.hub.sign_in import SignInDesk
from tests.hub.xet_store import XetStore


@dataclass(frozen=True)
class Options:
    """How a Hub behaves, for as long as it runs."""

    multipart_bytes: int | None = None
    """LFS uploads go in parts of this size; None: in one piece."""
    xet_reads: bool = False
    """Offer downloads through Xet too."""
    jobs_run_in: Path | None = None
    """Where Jobs run; None: each in a folder of its own, with the files of its Space."""


class Hub:
    """The state of one Hub. `base_url` is where clients reach it."""

    def __init__(self, base_url: str, root: Path, options: Options) -> None:
        self.base_url, self.options = base_url, options
        # Bytes come from another origin, as from the real Hub's storage: clients must not take their token there.
        self.storage_url = base_url.replace("127.0.0.1", "localhost") + "/storage"
        self._root = root
        self._folder: Path | None = None
        self.start_afresh()

    def start_afresh(self) -> None:
        """Forget everything that happened."""
        if self._folder is not None:
            self.jobs.stop_all()
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = self._root / secrets.token_hex(4)  # clients of the last life may still write in its folder
        self.accounts = Accounts()
        self.blobs = BlobStore(self._folder / "blobs")
        self.xet = XetStore(self._folder / "xet")
        self.repositories = Repositories()
        self.buckets: dict[str, Bucket] = {}
        self.jobs = JobRunner(self._folder / "jobs", self.base_url, self.options.jobs_run_in)
        self.desk = SignInDesk()

    def repository(self, request: Request, action: Action = Action.READ) -> Repository:
        """The repository in a request's path. Refuses where its token may not do this with it."""
        token = self.accounts.token_of(request)
        kind, repo_id = cast(Kind, request.path_params["kind"]), repo_id_of(request)
        if (new_name := self.repositories.new_name(kind, repo_id)) is not None:
            raise Moved(repo_id, new_name)
        return self.repository_for(token, kind, repo_id, action)

    def repository_for(self, token: Token | None, kind: Kind, repo_id: str, action: Action) -> Repository:
        """The repository, for whoever holds the token."""
        repository = self.repositories.find(kind, repo_id)
        powers = powers_over(token, repository) if repository else frozenset()
        if repository is None or (repository.private and Action.READ not in powers):
            raise Refusal(404 if token else 401, "Repository not found", code="RepoNotFound")
        if action is not Action.READ and action not in powers:
            if token is None:
                raise Refusal(401, "Invalid username or password.")
            raise Refusal(403, f"This token does not have the right to {action} {repo_id}")
        return repository

    def may_in_namespace(self, request: Request, namespace: str, action: Action) -> Token:
        """The token of a request that wants to do something in a namespace; refuses where it may not."""
        token = self.accounts.signed_in(request)
        if action not in token.powers(namespace):
            raise Refusal(403, f"This token does not have the right to {action} under the namespace {namespace}")
        return token


def powers_over(token: Token | None, repository: Repository) -> frozenset[Action]:
    """What a token may do with a repository, beyond reading it if it is public."""
    if token is None:
        return frozenset()
    return token.powers(repository.id, creator=repository.creator, app=repository.app)


def repo_id_of(request: Request) -> str:
    """The repository or bucket that the path names."""
    return f"{request.path_params['namespace']}/{request.path_params['name']}"


def is_true(parameters: Mapping[str, str], name: str) -> bool:
    """A yes-or-no query parameter, which clients write as 1, true or True."""
    return parameters.get(name, "").lower() in ("1", "true")


async def json_body(request: Request) -> dict[str, Any]:
    """The body of a request; an empty one counts as an empty object."""
    body = await request.body()
    return json.loads(body) if body else {}
