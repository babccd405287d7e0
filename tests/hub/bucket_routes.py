"""Buckets: create, fill, list, read, delete."""

from __future__ import annotations

import asyncio
import json
import mimetypes
from collections.abc import Collection
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from tests.hub.accounts import Action
from tests.hub.buckets import Bucket, BucketFile
from tests.hub.clock import timestamp
from tests.hub.refusals import Refusal, not_found
from tests.hub.repositories import check_name
from tests.hub.state import Hub, is_true, json_body, repo_id_of
from tests.hub.upload_routes import xet_token
from tests.hub.xet_store import NO_CONTENT, address


class BucketRoutes:
    """The routes of this module."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def routes(self) -> list[Route]:
        bucket = "/api/buckets/{namespace:segment}/{name:segment}"
        return [
            Route("/api/buckets/{namespace:segment}", self.list_buckets),
            Route(bucket, self.create, methods=["POST"]),
            Route(bucket, self.info),
            Route(bucket, self.delete, methods=["DELETE"]),
            Route(f"{bucket}/settings", self.change_settings, methods=["PUT"]),
            Route(f"{bucket}/tree", self.tree),
            Route(f"{bucket}/tree/{{path:rest}}", self.tree),
            Route(f"{bucket}/paths-info", self.paths_info, methods=["POST"]),
            Route(f"{bucket}/batch", self.batch, methods=["POST"]),
            Route(f"{bucket}/xet-write-token", self.xet_write_token),
            Route(f"{bucket}/xet-read-token", self.xet_read_token),
            Route("/buckets/{namespace:segment}/{name:segment}/resolve/{path:rest}", self.resolve),
        ]

    async def list_buckets(self, request: Request) -> JSONResponse:
        namespace = self._namespace(request)
        self._hub.may_in_namespace(request, namespace, Action.READ)
        search = request.query_params.get("search", "")
        found = [bucket for id_, bucket in self._hub.buckets.items() if id_.startswith(f"{namespace}/")]
        return JSONResponse([bucket.describe() for bucket in found if search in bucket.id])

    async def create(self, request: Request) -> JSONResponse:
        namespace, name = self._namespace(request), request.path_params["name"]
        token = self._hub.may_in_namespace(request, namespace, Action.CREATE)
        check_name(name)
        bucket_id = f"{namespace}/{name}"
        taken = bucket_id in self._hub.buckets
        if not taken:
            private = (await json_body(request)).get("visibility") == "private"
            self._hub.buckets[bucket_id] = Bucket(bucket_id, private, token.user.name, token.app)
        return JSONResponse(
            {"url": f"{self._hub.base_url}/buckets/{bucket_id}", "name": bucket_id}, 409 if taken else 200
        )

    async def info(self, request: Request) -> JSONResponse:
        return JSONResponse(self._bucket(request).describe())

    async def delete(self, request: Request) -> JSONResponse:
        del self._hub.buckets[self._bucket(request, Action.MANAGE).id]
        return JSONResponse({})

    async def change_settings(self, request: Request) -> JSONResponse:
        bucket = self._bucket(request, Action.MANAGE)
        bucket.private = (await json_body(request))["private"]
        return JSONResponse(bucket.describe())

    async def tree(self, request: Request) -> JSONResponse:
        bucket = self._bucket(request)
        prefix = request.path_params.get("path", "")
        found = [file for path, file in sorted(bucket.files.items()) if path.startswith(prefix)]
        if is_true(request.query_params, "recursive"):
            return JSONResponse([file.describe() for file in found])
        return JSONResponse(_top_level(found, prefix))

    async def paths_info(self, request: Request) -> JSONResponse:
        files = self._bucket(request).files
        paths = (await json_body(request))["paths"]
        return JSONResponse([files[path].describe() for path in paths if path in files])

    async def batch(self, request: Request) -> JSONResponse:
        bucket = self._bucket(request, Action.WRITE)
        operations = [json.loads(line) for line in (await request.body()).splitlines() if line.strip()]
        failed = []
        for operation in operations:
            try:
                await self._apply(operation, bucket)
            except Refusal as refusal:
                failed.append({"path": operation["path"], "error": refusal.message})
        answer = {"success": not failed, "failed": failed}
        return JSONResponse(answer, 422 if len(failed) == len(operations) else 200)

    async def xet_write_token(self, request: Request) -> JSONResponse:
        self._bucket(request, Action.WRITE)
        return xet_token(address(self._hub.xet.new_upload_folder()))

    async def xet_read_token(self, request: Request) -> JSONResponse:
        files = self._bucket(request).files.values()
        contents = {file.xet_hash: self._hub.blobs.path(file.sha256) for file in files}
        folder = await asyncio.to_thread(self._hub.xet.new_download_folder, contents)
        return xet_token(address(folder))

    async def resolve(self, request: Request) -> Response:
        bucket = self._bucket(request)
        file = bucket.files.get(request.path_params["path"])
        if file is None:
            raise not_found("Entry", "EntryNotFound")
        headers = {
            "ETag": f'"{file.xet_hash}"',
            "X-Linked-Size": str(file.size),
            "X-Xet-Hash": file.xet_hash,
            "X-Xet-Refresh-Route": f"{self._hub.base_url}/api/buckets/{bucket.id}/xet-read-token",
        }
        media_type = mimetypes.guess_type(file.path)[0] or "application/octet-stream"
        return FileResponse(self._hub.blobs.path(file.sha256), headers=headers, media_type=media_type)

    async def _apply(self, operation: dict[str, Any], bucket: Bucket) -> None:
        path = operation["path"]
        match operation["type"]:
            case "addFile" | "copyFile":
                sha256 = await asyncio.to_thread(self._content, operation["xetHash"])
                mtime = timestamp(operation["mtime"] / 1000)
                size = self._hub.blobs.size(sha256)
                bucket.files[path] = BucketFile(path, size, sha256, operation["xetHash"], mtime)
            case "deleteFile":
                if bucket.files.pop(path, None) is None:
                    raise Refusal(404, "File not found")
            case unknown:
                raise Refusal(400, f"Unknown operation: {unknown}")

    def _content(self, xet_hash: str) -> str:
        """The sha256 of what was uploaded under a Xet hash."""
        if xet_hash == NO_CONTENT:
            return self._hub.blobs.add_bytes(b"")
        uploaded = self._hub.xet.find_hash(xet_hash)
        if uploaded is None:
            raise Refusal(404, f"Nothing was uploaded as {xet_hash}")
        if uploaded.sha256 is not None and self._hub.blobs.has(uploaded.sha256):
            return uploaded.sha256
        extracted = self._hub.blobs.scratch()
        self._hub.xet.extract(uploaded, extracted)
        return self._hub.blobs.add_file(extracted)

    def _namespace(self, request: Request) -> str:
        """The namespace in the path; "me" is whoever asks."""
        namespace = request.path_params["namespace"]
        return self._hub.accounts.signed_in(request).user.name if namespace == "me" else namespace

    def _bucket(self, request: Request, action: Action = Action.READ) -> Bucket:
        token = self._hub.accounts.token_of(request)
        bucket = self._hub.buckets.get(repo_id_of(request))
        powers = token.powers(bucket.id, creator=bucket.creator, app=bucket.app) if token and bucket else frozenset()
        if bucket is None or (bucket.private and Action.READ not in powers):
            raise not_found("Bucket", "RepoNotFound")
        if action is not Action.READ and action not in powers:
            raise Refusal(403, f"This token does not have the right to {action} {bucket.id}")
        return bucket


def _top_level(files: Collection[BucketFile], prefix: str) -> list[dict[str, Any]]:
    """Files and folders right below the last slash of a prefix."""
    base = prefix[: prefix.rfind("/") + 1]
    entries: dict[str, dict[str, Any]] = {}
    for file in files:
        head, slash, _ = file.path.removeprefix(base).partition("/")
        if slash:
            folder = base + head
            entries[folder] = {"type": "directory", "path": folder, "uploadedAt": file.uploaded_at}
        else:
            entries[file.path] = file.describe()
    return list(entries.values())
