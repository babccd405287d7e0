"""The environment, read in one place. `app.py` and every `__main__` build one `Settings` and pass it on."""

from __future__ import annotations

import os
import sys
import tempfile
from enum import StrEnum
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from trainer.errors import RequestError

BUCKET_MOUNT = Path("/data")
"""Where a Space has its storage bucket, if its owner mounts one."""


class Owners(StrEnum):
    """Who owns what: everybody at this machine is one owner, each browser is its own, or who signs in is."""

    single = "single"
    browser = "browser"
    huggingface = "huggingface"


def user_data_dir() -> Path:
    """The platform's directory for application data, of this user."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "concept-studio"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "concept-studio"


class Settings(BaseSettings):
    """What the environment may say; each field's description is what the README's table shows."""

    model_config = SettingsConfigDict(env_prefix="STUDIO_", env_ignore_empty=True, frozen=True, extra="ignore")

    home: Path = Field(default_factory=user_data_dir, description="Data root: photos, runs, database. Local disk.")
    mirror: Path | None = Field(
        default=None,
        description="Folder where jobs and results are copied to and restored from; on a Space: /data, if mounted.",
    )
    database_url: str | None = Field(default=None, description="Jobs database; default SQLite under the data root.")
    owners: Owners | None = Field(
        default=None,
        description="single, browser or huggingface; default: single on loopback, huggingface with sign-in.",
    )
    example: bool = Field(default=True, description="Queue the embedded example on an empty data root without a GPU.")
    host: str | None = Field(
        default=None,
        validation_alias=AliasChoices("GRADIO_SERVER_NAME", "STUDIO_HOST"),
        description="Address to listen on; default 127.0.0.1.",
    )
    port: int = Field(
        default=7860,
        validation_alias=AliasChoices("GRADIO_SERVER_PORT", "STUDIO_PORT"),
        description="Port of the page.",
    )
    space_id: str | None = Field(
        default=None, validation_alias="SPACE_ID", description="Set by Hugging Face on a Space."
    )
    hub_token: SecretStr | None = Field(
        default=None,
        validation_alias="HF_TOKEN",
        description="Access token of the Hub, for publishing; on a Space: for its own hardware.",
    )

    cost_cap: float | None = Field(
        default=None, gt=0, description="Most that one job may cost on paid Space hardware, in US dollars."
    )
    system: str | None = Field(default=None, validation_alias="SYSTEM", description="`spaces` on a Space.")
    oauth_client_id: str | None = Field(
        default=None, validation_alias="OAUTH_CLIENT_ID", description="Set by Hugging Face on a Space with sign-in."
    )

    @property
    def can_sign_in(self) -> bool:
        """Only on a Space: elsewhere gradio's sign-in makes any visitor the owner of the machine's token."""
        return self.system == "spaces" and self.on_space and self.oauth_client_id is not None

    @property
    def own_hub_token(self) -> str | None:
        """The machine's token, for its only owner; visitors of a shared page bring theirs."""
        single = self.owner_mode is Owners.single
        return self.hub_token.get_secret_value() if self.hub_token is not None and single else None

    @property
    def space_token(self) -> str | None:
        """The Space's own secret, which manages the Space itself and is never used for a visitor."""
        return self.hub_token.get_secret_value() if self.hub_token is not None and self.on_space else None

    @property
    def on_space(self) -> bool:
        return self.space_id is not None

    @property
    def on_loopback(self) -> bool:
        return not self.on_space and (self.host or "127.0.0.1") in ("127.0.0.1", "localhost", "::1")

    @property
    def owner_mode(self) -> Owners:
        if self.owners is not None:
            return self.owners
        if self.can_sign_in:
            return Owners.huggingface
        return Owners.single if self.on_loopback else Owners.browser

    @property
    def mirror_dir(self) -> Path | None:
        """Where jobs and results are copied to; None: they are on the local disk alone."""
        if self.mirror is not None:
            return self.mirror
        is_bucket = self.on_space and BUCKET_MOUNT.is_mount() and os.access(BUCKET_MOUNT, os.W_OK)
        return BUCKET_MOUNT if is_bucket else None

    @property
    def jobs_database_url(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'studio.sqlite'}"

    @property
    def runs_dir(self) -> Path:
        return self.home / "runs"

    @property
    def cache_dir(self) -> Path:
        return self.home / "cache"

    @property
    def runtime_dir(self) -> Path:
        """Locks and sockets of the processes that run now."""
        return self.home / "runtime"

    def check_home(self) -> None:
        """Raise RequestError, with the path and the way out, where the data root cannot be written or mirrored."""
        if (mirror := self.mirror_dir) is not None:
            self._check_mirror(mirror)
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.home):
                return
        except OSError as error:
            raise RequestError(
                f"The data folder {self.home} cannot be written ({error.strerror}). "
                "Make it yours, or set STUDIO_HOME to a folder that is."
            ) from error

    def _check_mirror(self, mirror: Path) -> None:
        if not mirror.is_absolute():
            raise RequestError(f"STUDIO_MIRROR must be a whole path that begins with /; {mirror} is not.")
        home, mirror = self.home.resolve(), mirror.resolve()
        if home.is_relative_to(mirror) or mirror.is_relative_to(home):
            raise RequestError(
                f"The mirror {mirror} and the data folder {home} lie inside each other. "
                "Set STUDIO_MIRROR or STUDIO_HOME to a folder of its own."
            )


def process_environment() -> dict[str, str]:
    """A copy of this process's environment, for a child."""
    return dict(os.environ)
