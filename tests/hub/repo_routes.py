"""Accounts and repositories as wholes: who am I, create, rename, delete, settings, duplicates, information."""

from __future__ import annotations

from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.hub.accounts import Action, Token, describe_token, object_id
from tests.hub.cards import card_of
from tests.hub.hardware import FREE
from tests.hub.paths import REPO_API
from tests.hub.refusals import Refusal, not_found
from tests.hub.repositories import Commit, FileEntry, Kind, NameTaken, Repository
from tests.hub.spaces import STATIC, Space, settings_of
from tests.hub.state import Hub, is_true, json_body, powers_over

_GIT_ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


class RepoRoutes:
    """The routes of this module."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def routes(self) -> list[Route]:
        return [
            Route("/api/whoami-v2", self.whoami),
            Route("/api/agent-harnesses", self.agent_harnesses),
            Route("/api/repos/create", self.create, methods=["POST"]),
            Route("/api/repos/delete", self.delete, methods=["DELETE"]),
            Route("/api/repos/move", self.move, methods=["POST"]),
            Route("/api/models", self.list_models),
            Route(REPO_API, self.info),
            Route(f"{REPO_API}/revision/{{revision:segment}}", self.info),
            Route(f"{REPO_API}/settings", self.change_settings, methods=["PUT"]),
            Route(f"{REPO_API}/duplicate", self.duplicate, methods=["POST"]),
            Route(f"{REPO_API}/auth-check", self.check_access),
            Route(f"{REPO_API}/auth-check/write", self.check_write_access),
            Route(f"{REPO_API}/user-access-request/grant", self.grant_access, methods=["POST"]),
        ]

    async def whoami(self, request: Request) -> JSONResponse:
        return JSONResponse(describe_token(self._hub.accounts.signed_in(request)))

    async def list_models(self, request: Request) -> JSONResponse:
        """An author's models with a tag, the last changed first: all that are public, and what the token may read."""
        token, asked = self._hub.accounts.token_of(request), request.query_params
        found = [
            self._describe(model, model.head, with_blobs=False)
            for model in self._hub.repositories.all("model")
            if model.namespace == asked.get("author", model.namespace)
            and (not model.private or Action.READ in powers_over(token, model))
        ]
        marked = [model for model in found if {asked["filter"]} <= set(model["tags"])] if "filter" in asked else found
        marked.sort(key=lambda model: model["lastModified"], reverse=True)
        return JSONResponse(marked[: int(asked.get("limit", 1000))])

    async def agent_harnesses(self, _request: Request) -> JSONResponse:
        """Clients ask once a day which programs might be driving them: none is known."""
        return JSONResponse({"standardEnvVars": [], "harnesses": {}})

    async def create(self, request: Request) -> JSONResponse:
        wanted = await json_body(request)
        kind, repo_id = self._kind_and_id(request, wanted)
        token = self._hub.may_in_namespace(request, repo_id.split("/")[0], Action.CREATE)
        space = None
        if kind == "space":
            space = Space(wanted["sdk"])
            _furnish(space, wanted, token)
        try:
            repository = self._hub.repositories.create(kind, repo_id, token, private=_is_private(wanted), space=space)
        except NameTaken as taken:
            # a client that does not mind reads the address from the refusal
            return JSONResponse({"error": taken.message, "url": self._url(taken.by)}, taken.status)
        self._first_commit(repository)
        return JSONResponse(
            {"url": self._url(repository), "name": repo_id, "id": object_id(repo_id), "repoType": kind, "type": kind}
        )

    async def delete(self, request: Request) -> JSONResponse:
        kind, repo_id = self._kind_and_id(request, await json_body(request))
        token = self._hub.accounts.signed_in(request)
        self._hub.repositories.delete(self._hub.repository_for(token, kind, repo_id, Action.MANAGE))
        return JSONResponse({})

    async def move(self, request: Request) -> JSONResponse:
        wanted = await json_body(request)
        target = wanted["toRepo"]
        token = self._hub.may_in_namespace(request, target.split("/")[0], Action.CREATE)
        repository = self._hub.repository_for(token, wanted["type"], wanted["fromRepo"], Action.MANAGE)
        self._hub.repositories.rename(repository, target)
        return JSONResponse({"url": self._url(repository)})

    async def info(self, request: Request) -> JSONResponse:
        repository = self._hub.repository(request)
        commit = repository.commit_at(request.path_params.get("revision", "main"))
        return JSONResponse(self._describe(repository, commit, with_blobs=is_true(request.query_params, "blobs")))

    async def change_settings(self, request: Request) -> JSONResponse:
        repository = self._hub.repository(request, Action.MANAGE)
        wanted = await json_body(request)
        repository.gated = wanted.get("gated", repository.gated)
        if "visibility" in wanted or "private" in wanted:
            repository.private = _is_private(wanted)
            repository.protected = wanted.get("visibility") == "protected"
        return JSONResponse({"private": repository.private, "gated": repository.gated})

    async def duplicate(self, request: Request) -> JSONResponse:
        original = self._hub.repository(request)
        wanted = await json_body(request)
        token = self._hub.may_in_namespace(request, wanted["repository"].split("/")[0], Action.CREATE)
        if original.space is not None:
            _check_payment(original.space.sdk, wanted.get("hardware", FREE), token)
        private = _is_private(wanted) if "visibility" in wanted else original.private
        twin = self._hub.repositories.duplicate(original, wanted["repository"], token, private=private)
        if twin.space is not None:
            _furnish(twin.space, wanted, token)
        return JSONResponse({"url": self._url(twin), "filesCopyPending": False})

    async def check_access(self, request: Request) -> JSONResponse:
        repository = self._hub.repository(request)
        check_gate(self._hub, request, repository)
        return JSONResponse({})

    async def check_write_access(self, request: Request) -> JSONResponse:
        self._hub.repository(request, Action.WRITE)
        return JSONResponse({})

    async def grant_access(self, request: Request) -> JSONResponse:
        repository = self._hub.repository(request, Action.MANAGE)
        user = (await json_body(request))["user"]
        if user not in self._hub.accounts.users:
            raise not_found(f"User {user}", "UserNotFound")
        repository.admitted.add(user)
        return JSONResponse({})

    def _kind_and_id(self, request: Request, wanted: dict[str, Any]) -> tuple[Kind, str]:
        namespace = wanted.get("organization") or self._hub.accounts.signed_in(request).user.name
        return cast(Kind, wanted.get("type") or "model"), f"{namespace}/{wanted['name']}"

    def _url(self, repository: Repository) -> str:
        return f"{self._hub.base_url}/{repository.web_path}"

    def _first_commit(self, repository: Repository) -> None:
        entry = FileEntry.in_git(_GIT_ATTRIBUTES, self._hub.blobs.add_bytes(_GIT_ATTRIBUTES))
        repository.add_commit("main", {".gitattributes": entry}, title="initial commit", author="system")

    def _describe(self, repository: Repository, commit: Commit, *, with_blobs: bool) -> dict[str, Any]:
        card = card_of(commit, self._hub.blobs)
        description = {
            "_id": object_id(repository.id),
            "id": repository.id,
            "modelId": repository.id,
            "author": repository.namespace,
            "sha": commit.id,
            "private": repository.private,
            "visibility": repository.visibility,
            "gated": repository.gated,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": card.get("tags", []),
            "cardData": card,
            "siblings": [_sibling(path, entry, with_blobs=with_blobs) for path, entry in commit.files.items()],
            "createdAt": repository.created_at,
            "lastModified": repository.head.date,
        }
        for name in ("library_name", "pipeline_tag"):
            if name in card:
                description[name] = card[name]
        if repository.space is not None:
            description["sdk"] = repository.space.sdk
            description["runtime"] = repository.space.runtime(repository.head.files)
        return description


def check_gate(hub: Hub, request: Request, repository: Repository) -> None:
    """Refuse the files of a gated repository to those who were not let in."""
    token = hub.accounts.token_of(request)
    if not repository.gated or Action.READ in powers_over(token, repository):
        return
    if token is None or not token.opens_gates or token.user.name not in repository.admitted:
        raise Refusal(
            403 if token else 401,
            f"Access to {repository.kind} {repository.id} is restricted and you are not in the authorized list.",
            code="GatedRepo",
        )


def _is_private(wanted: dict[str, Any]) -> bool:
    return wanted.get("visibility") in ("private", "protected") or wanted.get("private") is True


def _check_payment(sdk: str, hardware: str, token: Token) -> None:
    if sdk != STATIC and not token.user.pays:
        what = "PRO is needed to host Spaces on free hardware" if hardware == FREE else "Credits are needed"
        raise Refusal(402, f"Payment required: {what}")


def _furnish(space: Space, wanted: dict[str, Any], token: Token) -> None:
    hardware = wanted.get("hardware", FREE)
    _check_payment(space.sdk, hardware, token)
    space.request_hardware(hardware, wanted.get("sleepTimeSeconds"))
    space.secrets.update(settings_of(wanted.get("secrets", [])))
    space.variables.update(settings_of(wanted.get("variables", [])))


def _sibling(path: str, entry: FileEntry, *, with_blobs: bool) -> dict[str, Any]:
    if not with_blobs:
        return {"rfilename": path}
    lfs = {"sha256": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    return {
        "rfilename": path,
        "size": entry.size,
        "blobId": entry.blob_id,
        "lfs": None if entry.pointer_size is None else lfs,
    }
