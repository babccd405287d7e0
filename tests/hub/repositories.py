"""Models, datasets and Spaces: their names, files, commits and references."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tests.hub.accounts import Token
from tests.hub.blobs import git_blob_id
from tests.hub.clock import timestamp
from tests.hub.refusals import Refusal, not_found
from tests.hub.spaces import Space

Kind = Literal["model", "dataset", "space"]
MAIN: Final = "main"
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?", re.ASCII)
_commit_numbers = itertools.count()  # clients cache listings by commit id, so no two commits may share one


def check_name(name: str) -> None:
    """Refuse what the Hub does not take as the name of a repository."""
    if not _NAME.fullmatch(name) or "--" in name or ".." in name or name.endswith((".git", ".ipynb")):
        raise Refusal(400, f"Invalid repository name: {name}")


@dataclass(frozen=True)
class FileEntry:
    """A file in a commit. Git keeps big files as a pointer; `pointer_size` is None for files that are in git."""

    blob_id: str
    size: int
    sha256: str
    pointer_size: int | None = None
    xet_hash: str | None = None

    @classmethod
    def in_git(cls, data: bytes, sha256: str) -> FileEntry:
        return cls(git_blob_id(data), len(data), sha256)

    @classmethod
    def as_pointer(cls, sha256: str, size: int, xet_hash: str | None) -> FileEntry:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        return cls(git_blob_id(pointer), size, sha256, len(pointer), xet_hash)

    @property
    def lfs(self) -> dict[str, Any] | None:
        """What listings say of a big file's content."""
        if self.pointer_size is None:
            return None
        return {"oid": self.sha256, "size": self.size, "pointerSize": self.pointer_size}


@dataclass(frozen=True)
class Commit:
    """A state of all files."""

    id: str
    title: str
    message: str
    author: str
    date: str
    parent: str | None
    files: Mapping[str, FileEntry]


@dataclass
class Repository:
    """A repository and its history."""

    kind: Kind
    id: str
    private: bool
    creator: str
    app: str | None
    """The app through which it was created, which matters to sign-ins that may only contribute."""
    gated: str | Literal[False] = False
    admitted: set[str] = field(default_factory=set)
    created_at: str = field(default_factory=timestamp)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pull_requests: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    space: Space | None = None
    protected: bool = False
    """Of a private Space: its app is open to all the same."""

    @property
    def visibility(self) -> str:
        return "protected" if self.protected else "private" if self.private else "public"

    @property
    def namespace(self) -> str:
        return self.id.split("/")[0]

    @property
    def head(self) -> Commit:
        return self.commits[self.branches[MAIN]]

    @property
    def web_path(self) -> str:
        return self.id if self.kind == "model" else f"{self.kind}s/{self.id}"

    def commit_at(self, revision: str) -> Commit:
        """What a branch, a tag, a pull request or a commit id names."""
        for references in (self.branches, self.tags, self.pull_requests):
            if revision in references:
                return self.commits[references[revision]]
        if revision in self.commits:
            return self.commits[revision]
        raise not_found(f"Revision {revision}", "RevisionNotFound")

    def add_commit(
        self, revision: str, files: Mapping[str, FileEntry], *, title: str, message: str = "", author: str
    ) -> Commit:
        """Move a branch or a pull request on to a new state; it may be a new one."""
        references = self.pull_requests if revision.startswith("refs/pr/") else self.branches
        parent = references.get(revision)
        identity = json.dumps([self.id, parent, title, sorted(files), next(_commit_numbers)])
        commit_id = hashlib.sha1(identity.encode()).hexdigest()
        commit = Commit(commit_id, title, message, author, timestamp(), parent, dict(files))
        self.commits[commit_id] = commit
        references[revision] = commit_id
        return commit

    def open_pull_request(self, base: Commit) -> str:
        """A reference for changes that are only proposed."""
        reference = f"refs/pr/{len(self.pull_requests) + 1}"
        self.pull_requests[reference] = base.id
        return reference


class NameTaken(Refusal):
    """There is another repository of that name."""

    def __init__(self, by: Repository) -> None:
        super().__init__(409, f"You already created this {by.kind} repo: {by.id}")
        self.by = by


class Repositories:
    """All of them. Where a renamed one went is remembered, until somebody takes its old name."""

    def __init__(self) -> None:
        self._by_id: dict[tuple[Kind, str], Repository] = {}
        self._renamed: dict[tuple[Kind, str], str] = {}

    def find(self, kind: Kind, repo_id: str) -> Repository | None:
        """The repository of that name."""
        return self._by_id.get((kind, repo_id))

    def all(self, kind: Kind) -> list[Repository]:
        """Every repository of a kind."""
        return [repository for (of, _), repository in self._by_id.items() if of == kind]

    def new_name(self, kind: Kind, repo_id: str) -> str | None:
        """What a repository that once had this name was renamed to."""
        return self._renamed.get((kind, repo_id))

    def create(self, kind: Kind, repo_id: str, by: Token, *, private: bool, space: Space | None = None) -> Repository:
        """A new repository without a commit."""
        self._take_name(kind, repo_id)
        repository = Repository(kind, repo_id, private, by.user.name, by.app, space=space)
        self._by_id[kind, repo_id] = repository
        return repository

    def duplicate(self, original: Repository, repo_id: str, by: Token, *, private: bool) -> Repository:
        """A copy with the whole history."""
        twin = self.create(original.kind, repo_id, by, private=private)
        twin.branches, twin.tags, twin.commits = copy.deepcopy((original.branches, original.tags, original.commits))
        twin.space = original.space.duplicate() if original.space else None
        return twin

    def rename(self, repository: Repository, repo_id: str) -> None:
        """Give it another name, another owner, or both."""
        self._take_name(repository.kind, repo_id)
        del self._by_id[repository.kind, repository.id]
        self._renamed[repository.kind, repository.id] = repo_id
        repository.id = repo_id
        self._by_id[repository.kind, repo_id] = repository

    def delete(self, repository: Repository) -> None:
        del self._by_id[repository.kind, repository.id]

    def _take_name(self, kind: Kind, repo_id: str) -> None:
        check_name(repo_id.split("/")[1])
        if (kind, repo_id) in self._by_id:
            raise NameTaken(self._by_id[kind, repo_id])
        self._renamed.pop((kind, repo_id), None)
