"""The way of files into a repository: how to send them, the sending, and the commit."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub.accounts import Action
from tests.hub.cards import read_metadata
from tests.hub.paths import REPO_API, REPO_SITE
from tests.hub.refusals import Refusal
from tests.hub.repositories import FileEntry
from tests.hub.state import Hub, is_true, json_body
from tests.hub.xet_store import address

_BIG_BYTES: Final = 10 * 2**20
_BIG_KINDS: Final = (
    *(".safetensors", ".bin", ".pt", ".ckpt", ".zip", ".gguf", ".onnx"),
    *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4"),
)
_XET_TOKEN_S: Final = 3600


class UploadRoutes:
    """The routes of this module."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def routes(self) -> list[Route]:
        revision = "{revision:segment}"
        return [
            Route("/api/validate-yaml", self.validate_card, methods=["POST"]),
            Route(f"{REPO_API}/preupload/{revision}", self.choose_ways, methods=["POST"]),
            Route(f"{REPO_API}/xet-write-token/{revision}", self.xet_write_token),
            Route(f"{REPO_API}/commit/{revision}", self.commit, methods=["POST"]),
            Route(f"{REPO_SITE}.git/info/lfs/objects/batch", self.lfs_batch, methods=["POST"]),
            Route("/api/complete-multipart/{sha256}", self.complete_multipart, methods=["POST"]),
            Route("/api/verify-lfs", self.verify_lfs, methods=["POST"]),
            Route("/storage/{sha256}", self.receive, methods=["PUT"]),
            Route("/storage/{sha256}/{part:int}", self.receive_part, methods=["PUT"]),
        ]

    async def validate_card(self, request: Request) -> JSONResponse:
        errors = []
        try:
            read_metadata((await json_body(request))["content"])
        except ValueError as error:
            errors.append({"message": str(error)})
        return JSONResponse({"errors": errors, "warnings": []}, 400 if errors else 200)

    async def choose_ways(self, request: Request) -> JSONResponse:
        """Which files go into the commit itself and which are too big for that."""
        repository = self._hub.repository(request, Action.WRITE)
        commit = repository.commit_at(request.path_params["revision"])
        ways = []
        for file in (await json_body(request))["files"]:
            present = commit.files.get(file["path"])
            ways.append(
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if _is_big(file) else "regular",
                    "shouldIgnore": False,
                    "oid": (present.sha256 if present.lfs else present.blob_id) if present else None,
                }
            )
        return JSONResponse({"files": ways, "commitOid": commit.id})

    async def lfs_batch(self, request: Request) -> JSONResponse:
        self._hub.repository(request, Action.WRITE)
        wanted = await json_body(request)
        part_bytes = self._hub.options.multipart_bytes if "multipart" in wanted["transfers"] else None
        objects = []
        for wish in wanted["objects"]:
            found = {"oid": wish["oid"], "size": wish["size"]}
            if not self._hub.blobs.has(wish["oid"]):
                verify = {"href": f"{self._hub.base_url}/api/verify-lfs", "header": {}}
                found["actions"] = {"upload": self._upload_action(wish, part_bytes), "verify": verify}
            objects.append(found)
        transfer = "multipart" if part_bytes else "basic"
        return JSONResponse({"transfer": transfer, "objects": objects, "hash_algo": "sha256"})

    async def receive(self, request: Request) -> Response:
        check_storage_request(request)
        await self._hub.blobs.receive(request.stream(), request.path_params["sha256"])
        return Response()

    async def receive_part(self, request: Request) -> Response:
        check_storage_request(request)
        part = request.path_params["part"]
        etag = await self._hub.blobs.receive_part(request.stream(), request.path_params["sha256"], part)
        return Response(headers={"ETag": f'"{etag}"'})

    async def complete_multipart(self, request: Request) -> JSONResponse:
        parts = (await json_body(request))["parts"]
        self._hub.blobs.join_parts(request.path_params["sha256"], [part["partNumber"] for part in parts])
        return JSONResponse({})

    async def verify_lfs(self, request: Request) -> JSONResponse:
        self._hub.accounts.signed_in(request)
        claimed = await json_body(request)
        if not self._hub.blobs.has(claimed["oid"]) or self._hub.blobs.size(claimed["oid"]) != claimed["size"]:
            raise Refusal(404, "The object was not uploaded")
        return JSONResponse({})

    async def xet_write_token(self, request: Request) -> JSONResponse:
        self._hub.repository(request, Action.WRITE)
        return xet_token(address(self._hub.xet.new_upload_folder()))

    async def commit(self, request: Request) -> JSONResponse:
        repository = self._hub.repository(request, Action.WRITE)
        revision = request.path_params["revision"]
        parent = repository.commit_at(revision)
        header, *operations = [json.loads(line) for line in (await request.body()).splitlines() if line.strip()]
        head = header["value"]
        if head.get("parentCommit") not in (None, parent.id):
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(parent.files)
        for operation in operations:
            await self._apply(operation["key"], operation["value"], files)
        proposed = is_true(request.query_params, "create_pr")
        if proposed:
            revision = repository.open_pull_request(parent)
        author = self._hub.accounts.signed_in(request).user.name
        description = head.get("description", "")
        commit = repository.add_commit(revision, files, title=head["summary"], message=description, author=author)
        site = f"{self._hub.base_url}/{repository.web_path}"
        answer = {"success": True, "commitOid": commit.id, "commitUrl": f"{site}/commit/{commit.id}", "hookOutput": ""}
        if proposed:
            answer["pullRequestUrl"] = f"{site}/discussions/{revision.rsplit('/', 1)[1]}"
        return JSONResponse(answer)

    async def _apply(self, key: str, value: dict[str, Any], files: dict[str, FileEntry]) -> None:
        path = value["path"]
        match key:
            case "file":
                data = base64.b64decode(value["content"])
                if path == "README.md":
                    _check_card(data)
                files[path] = FileEntry.in_git(data, self._hub.blobs.add_bytes(data))
            case "lfsFile":
                files[path] = await asyncio.to_thread(self._big_file, path, value["oid"])
            case "deletedFile":
                if files.pop(path, None) is None:
                    raise Refusal(400, f"Cannot delete {path}: there is no such file")
            case "deletedFolder":
                folder = f"{path.rstrip('/')}/"
                for name in [name for name in files if name.startswith(folder)]:
                    del files[name]
            case _:
                raise Refusal(400, f"Unknown operation: {key}")

    def _big_file(self, path: str, sha256: str) -> FileEntry:
        """The entry of a file that was sent before, through LFS or through Xet."""
        uploaded = self._hub.xet.find_sha256(sha256)
        if not self._hub.blobs.has(sha256):
            if uploaded is None:
                raise Refusal(422, f"LFS pointer pointed to a file that does not exist: {path}")
            extracted = self._hub.blobs.scratch()
            self._hub.xet.extract(uploaded, extracted)
            if self._hub.blobs.add_file(extracted) != sha256:
                raise Refusal(422, f"The content of {path} does not have the sha256 that was announced")
        size = self._hub.blobs.size(sha256)
        return FileEntry.as_pointer(sha256, size, uploaded.xet_hash if uploaded else None)

    def _upload_action(self, wish: dict[str, Any], part_bytes: int | None) -> dict[str, Any]:
        sha256 = wish["oid"]
        target = f"{self._hub.storage_url}/{sha256}"
        if part_bytes is None or wish["size"] <= part_bytes:
            return {"href": target, "header": {}}
        count = math.ceil(wish["size"] / part_bytes)
        parts = {f"{number:05}": f"{target}/{number}" for number in range(1, count + 1)}
        completion = f"{self._hub.base_url}/api/complete-multipart/{sha256}"
        return {"href": completion, "header": {"chunk_size": str(part_bytes), **parts}}


def check_storage_request(request: Request) -> None:
    """Storage is somebody else's server: addresses are signed, and a token sent there is a token given away."""
    if "authorization" in request.headers:
        raise Refusal(400, "A token was sent to the storage server")


def xet_token(storage: str) -> JSONResponse:
    """Leave to use a Xet storage, in the body for one part of the client and in headers for another."""
    expires = int(time.time()) + _XET_TOKEN_S
    headers = {
        "X-Xet-Cas-Url": storage,
        "X-Xet-Access-Token": "xet-access",
        "X-Xet-Token-Expiration": str(expires),
    }
    return JSONResponse({"casUrl": storage, "accessToken": "xet-access", "exp": expires}, headers=headers)


def _check_card(data: bytes) -> None:
    try:
        read_metadata(data.decode("utf-8", "replace"))
    except ValueError as error:
        raise Refusal(400, f"Invalid metadata in README.md: {error}") from error


def _is_big(file: dict[str, Any]) -> bool:
    sample = base64.b64decode(file["sample"])
    return file["size"] > _BIG_BYTES or file["path"].lower().endswith(_BIG_KINDS) or b"\0" in sample
