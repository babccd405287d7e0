"""What is in a repository: its files, references and commits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.hub.accounts import Action
from tests.hub.paths import REPO_API
from tests.hub.refusals import Refusal, not_found
from tests.hub.repositories import MAIN, FileEntry
from tests.hub.state import Hub, is_true, json_body


class TreeRoutes:
    """The routes of this module."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def routes(self) -> list[Route]:
        revision = "{revision:segment}"
        return [
            Route(f"{REPO_API}/tree/{revision}", self.tree),
            Route(f"{REPO_API}/tree/{revision}/{{path:rest}}", self.tree),
            Route(f"{REPO_API}/paths-info/{revision}", self.paths_info, methods=["POST"]),
            Route(f"{REPO_API}/refs", self.references),
            Route(f"{REPO_API}/branch/{revision}", self.create_branch, methods=["POST"]),
            Route(f"{REPO_API}/branch/{revision}", self.delete_branch, methods=["DELETE"]),
            Route(f"{REPO_API}/tag/{revision}", self.create_tag, methods=["POST"]),
            Route(f"{REPO_API}/tag/{revision}", self.delete_tag, methods=["DELETE"]),
            Route(f"{REPO_API}/commits/{revision}", self.commits),
        ]

    async def tree(self, request: Request) -> JSONResponse:
        commit = self._hub.repository(request).commit_at(request.path_params["revision"])
        path = request.path_params.get("path", "").strip("/")
        entries = self._entries(commit.files)
        inside = {name: entry for name, entry in entries.items() if name.startswith(f"{path}/" if path else "")}
        if path and not inside:
            raise not_found(f"{path} in revision {commit.id}", "EntryNotFound")
        if not is_true(request.query_params, "recursive"):
            depth = path.count("/") + 1 if path else 0
            inside = {name: entry for name, entry in inside.items() if name.count("/") == depth}
        return JSONResponse(list(inside.values()))

    async def paths_info(self, request: Request) -> JSONResponse:
        commit = self._hub.repository(request).commit_at(request.path_params["revision"])
        if request.headers.get("content-type", "").startswith("application/json"):
            paths = (await json_body(request))["paths"]
        else:
            async with request.form() as form:
                paths = [str(path) for path in form.getlist("paths")]
        entries = self._entries(commit.files)
        return JSONResponse([entries[path] for path in paths if path in entries])

    async def references(self, request: Request) -> JSONResponse:
        repository = self._hub.repository(request)

        def listed(references: Mapping[str, str], prefix: str) -> list[dict[str, str]]:
            return [{"name": name, "ref": prefix + name, "targetCommit": id_} for name, id_ in references.items()]

        answer = {
            "branches": listed(repository.branches, "refs/heads/"),
            "tags": listed(repository.tags, "refs/tags/"),
            "converts": [],
        }
        if is_true(request.query_params, "include_prs"):
            answer["pullRequests"] = listed(repository.pull_requests, "")
        return JSONResponse(answer)

    async def create_branch(self, request: Request) -> JSONResponse:
        repository = self._hub.repository(request, Action.WRITE)
        start = (await json_body(request)).get("startingPoint", MAIN)
        _add_reference(repository.branches, request.path_params["revision"], repository.commit_at(start).id)
        return JSONResponse({})

    async def delete_branch(self, request: Request) -> JSONResponse:
        branches = self._hub.repository(request, Action.WRITE).branches
        if request.path_params["revision"] == MAIN:
            raise Refusal(403, "The main branch cannot be deleted")
        return _delete_reference(branches, request.path_params["revision"])

    async def create_tag(self, request: Request) -> JSONResponse:
        repository = self._hub.repository(request, Action.WRITE)
        commit = repository.commit_at(request.path_params["revision"])
        _add_reference(repository.tags, (await json_body(request))["tag"], commit.id)
        return JSONResponse({})

    async def delete_tag(self, request: Request) -> JSONResponse:
        tags = self._hub.repository(request, Action.WRITE).tags
        return _delete_reference(tags, request.path_params["revision"])

    async def commits(self, request: Request) -> JSONResponse:
        repository = self._hub.repository(request)
        commit = repository.commit_at(request.path_params["revision"])
        history = [commit]
        while commit.parent is not None:
            commit = repository.commits[commit.parent]
            history.append(commit)
        return JSONResponse(
            [
                {
                    "id": commit.id,
                    "title": commit.title,
                    "message": commit.message,
                    "authors": [{"user": commit.author}],
                    "date": commit.date,
                }
                for commit in history
            ]
        )

    def _entries(self, files: Mapping[str, FileEntry]) -> dict[str, dict[str, Any]]:
        """Every file and every folder, in order of their paths."""
        entries: dict[str, dict[str, Any]] = {}
        for path, file in sorted(files.items()):
            parts = path.split("/")
            for depth in range(1, len(parts)):
                folder = "/".join(parts[:depth])
                tree_id = hashlib.sha1(folder.encode()).hexdigest()
                entries[folder] = {"type": "directory", "oid": tree_id, "size": 0, "path": folder}
            entries[path] = {"type": "file", "oid": file.blob_id, "size": file.size, "path": path}
            if file.lfs is not None:
                entries[path]["lfs"] = file.lfs
            if file.xet_hash is not None and self._hub.options.xet_reads:
                entries[path]["xetHash"] = file.xet_hash
        return entries


def _add_reference(references: dict[str, str], name: str, commit_id: str) -> None:
    if name in references:
        raise Refusal(409, f"Reference already exists: {name}")
    references[name] = commit_id


def _delete_reference(references: dict[str, str], name: str) -> JSONResponse:
    if references.pop(name, None) is None:
        raise not_found(f"Reference {name}", "RevisionNotFound")
    return JSONResponse({})
