"""A Hub for a test: starts it, tells clients how to find it, orders its failures, and stops it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests import ROOT
from tests.hub.accounts import TokenKind
from tests.hub.faults import CONTROL, KEY_HEADER, Fault, RequestRecord
from tests.hub.sign_in import CLIENT_ID, CLIENT_SECRET, Visitor

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_ANSWER_S = 30


class LocalHub:
    """A Hub in a process of its own, on a port of its own. Everything it keeps is under `folder`.

        with LocalHub(tmp_path / "hub") as hub:
            hub.order_fault("POST .*/commit/", status=503)
            subprocess.run(program, env={**os.environ, **hub.environment(tmp_path / "home", token=ALICE)})
            assert any("/commit/" in request.path for request in hub.requests())

    `multipart_bytes`: LFS uploads go in parts of this size. `xet_reads`: downloads may go through Xet.
    `jobs_run_in`: where Jobs run, instead of among the files of their Space.
    """

    def __init__(
        self,
        folder: Path,
        *,
        multipart_bytes: int | None = None,
        xet_reads: bool = False,
        jobs_run_in: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._key = folder, secrets.token_hex(16)
        settings = {
            "folder": str(folder),
            "control_key": self._key,
            "multipart_bytes": multipart_bytes,
            "xet_reads": xet_reads,
            "jobs_run_in": str(jobs_run_in) if jobs_run_in else None,
        }
        with (folder / "hub.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.hub.server"],
                cwd=ROOT,
                env={**os.environ, "HF_HOME": str(folder / "hf")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(settings), file=self._process.stdin, flush=True)
        port = self._process.stdout.readline().strip()
        assert port, self.log()
        self.url = f"http://127.0.0.1:{port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it with all of its Jobs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def log(self) -> str:
        """What the server itself complained about."""
        return (self._folder / "hub.log").read_text(encoding="utf-8")

    def environment(self, home: Path, *, token: str | None = None, xet: bool = False) -> dict[str, str]:
        """Variables for a client process: this Hub, its own caches under `home`, and nothing told to anyone."""
        variables = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "0" if xet else "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "DO_NOT_TRACK": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
        return {**variables, "HF_TOKEN": token} if token else variables

    def sign_in_environment(self, scopes: Collection[str] = ("openid", "profile")) -> dict[str, str]:
        """Variables that a Space with `hf_oauth: true` finds."""
        return {
            "OAUTH_CLIENT_ID": CLIENT_ID,
            "OAUTH_CLIENT_SECRET": CLIENT_SECRET,
            "OAUTH_SCOPES": " ".join(scopes),
            "OPENID_PROVIDER_URL": self.url,
        }

    def reset(self) -> None:
        """Forget everything: repositories, Jobs, tokens made since, ordered faults, requests."""
        self._control("POST", "reset")

    def order_fault(
        self,
        match: str,
        *,
        times: int = 1,
        revoke: str | None = None,
        hang_s: float = 0.0,
        cut_request_after: int | None = None,
        cut_response_after: int | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        drop: bool = False,
        after_work: bool = False,
    ) -> None:
        """Let the next `times` requests go wrong whose "METHOD /path" contains `match`: see Fault."""
        fault = Fault(
            match=match,
            times=times,
            revoke=revoke,
            hang_s=hang_s,
            cut_request_after=cut_request_after,
            cut_response_after=cut_response_after,
            status=status,
            headers=headers or {},
            drop=drop,
            after_work=after_work,
        )
        self._control("POST", "faults", asdict(fault))

    def clear_faults(self) -> None:
        """Let everything go right again."""
        self._control("DELETE", "faults")

    def requests(self) -> list[RequestRecord]:
        """Every request since the last reset, in order of arrival."""
        return [RequestRecord(**record) for record in self._control("GET", "requests")]

    def new_token(
        self,
        user: str = "alice",
        kind: TokenKind = TokenKind.WRITE,
        *,
        grants: Collection[str] = (),
        only_in: str | None = None,
        app: str | None = None,
        expires_in_s: float | None = None,
    ) -> str:
        """A token of any kind; `grants` are OAuth scopes or fine-grained permissions."""
        wanted = {
            "user_name": user,
            "kind": kind.value,
            "grants": list(grants),
            "only_in": only_in,
            "app": app,
            "expires_in_s": expires_in_s,
        }
        return self._control("POST", "tokens", wanted)["token"]

    def revoke(self, token: str) -> None:
        """Make a token worthless, now."""
        self._control("DELETE", f"tokens/{token}")

    def seat_visitor(
        self, name: str | None, *, scopes: Collection[str] | None = None, expires_in_s: int = 28800
    ) -> None:
        """Decide who will sign in from now on, what they grant (None: what is asked for), and for how long.

        A visitor without a name refuses.
        """
        visitor = Visitor(name, None if scopes is None else list(scopes), expires_in_s)
        self._control("PUT", "visitor", asdict(visitor))

    def hold_jobs(self, *, held: bool) -> None:
        """Leave new Jobs waiting to be scheduled, or let them go."""
        self._control("PUT", "jobs", {"held": held})

    def end_job(self, job_id: str, *, stage: str, message: str | None = None) -> None:
        """Let something befall a Job: ERROR with a message, DELETED."""
        self._control("PUT", f"jobs/{job_id}", {"stage": stage, "message": message})

    def set_space_stage(self, space_id: str, stage: str | None) -> None:
        """Show a Space in a stage, such as BUILD_ERROR; None: as it really is."""
        self._control("PUT", f"spaces/{space_id}", {"stage": stage})

    def _control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}{CONTROL}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={KEY_HEADER: self._key, "Content-Type": "application/json"},
            method=method,
        )
        with _DIRECT.open(request, timeout=_ANSWER_S) as answer:
            return json.loads(answer.read())
