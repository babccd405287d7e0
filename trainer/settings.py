"""The environment, read in one place. Each of our processes builds one `Settings` and passes it on."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from trainer.errors import RequestError
from trainer.settings_checks import check_apart, check_writable, must_be

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


def _whole(path: Path) -> Path:
    """Children work in another directory, where a relative path would be another folder."""
    if not path.is_absolute():
        raise ValueError("not absolute")
    return path


WholePath = Annotated[Path, AfterValidator(_whole)]


class Settings(BaseSettings):
    """What the environment may say.

    Building one raises RequestError, with a sentence for each invalid variable. No value is quoted: it may be a secret.
    """

    model_config = SettingsConfigDict(env_prefix="STUDIO_", env_ignore_empty=True, frozen=True, extra="ignore")

    home: WholePath = Field(default_factory=user_data_dir, description="Data root: photos, runs, database. Local disk.")
    mirror: WholePath | None = Field(
        default=None,
        description="Folder where jobs and results are copied to and restored from; on a Space: /data, if mounted.",
    )
    database_url: str | None = Field(
        default=None,
        pattern=r"^(sqlite:////|postgres(ql)?(\+psycopg)?://).",
        description="Jobs database; default SQLite under the data root.",
    )
    shared: WholePath | None = Field(
        default=None,
        description="Folder on a network file system for the runs of several machines; default: the data root.",
    )
    train_here: bool = Field(
        default=True, description="Train on this machine's devices; 0: the page alone, other machines train."
    )
    owners: Owners | None = Field(
        default=None,
        description="single, browser or huggingface; default: single on loopback, huggingface on a Space with sign-in, "
        "else browser.",
    )
    example: bool = Field(default=True, description="Queue the embedded example on an empty data root without a GPU.")
    host: str | None = Field(
        default=None,
        validation_alias=AliasChoices("GRADIO_SERVER_NAME", "STUDIO_HOST"),
        description="Address to listen on; default 127.0.0.1.",
    )
    port: int = Field(
        default=7860,
        ge=1,
        le=65535,
        validation_alias=AliasChoices("GRADIO_SERVER_PORT", "STUDIO_PORT"),
        description="Port of the page.",
    )
    space_id: str | None = Field(
        default=None, validation_alias="SPACE_ID", description="Set by Hugging Face on a Space."
    )
    space_author: str | None = Field(
        default=None, validation_alias="SPACE_AUTHOR_NAME", description="Set by Hugging Face on a Space: its owner."
    )
    open_to_all: bool = Field(
        default=False, description="Let every visitor of a public Space train on hardware that its owner pays for."
    )
    hub_token: SecretStr | None = Field(
        default=None,
        validation_alias="HF_TOKEN",
        description="Access token of the Hub, for publishing; on a Space: for its own hardware.",
    )
    image: str | None = Field(
        default=None,
        validation_alias="STUDIO_JOBS_IMAGE",
        description="Image with this app in it for training in HF Jobs; default on a Space: the Space itself.",
    )
    jobs_limit_min: int = Field(
        default=180, ge=10, le=2880, description="Minutes after which a Job at Hugging Face is ended, come what may."
    )
    remote: str | None = Field(default=None, description="Set by the app inside a Job: which run to train.")

    cost_cap: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Most that one job may cost on paid Space hardware, in US dollars.",
    )
    visible_gpus: str | None = Field(
        default_factory=lambda: os.environ.get("CUDA_VISIBLE_DEVICES"),  # empty, it means none, and not the default
        validation_alias="CUDA_VISIBLE_DEVICES",
        description="GPUs that may be used, by number or id as nvidia-smi says them; empty: none. Default: all.",
    )
    system: str | None = Field(default=None, validation_alias="SYSTEM", description="`spaces` on a Space.")
    oauth_client_id: str | None = Field(
        default=None, validation_alias="OAUTH_CLIENT_ID", description="Set by Hugging Face on a Space with sign-in."
    )

    oauth_scopes: str = Field(
        default="", validation_alias="OAUTH_SCOPES", description="Set by Hugging Face on a Space with sign-in."
    )

    @model_validator(mode="wrap")
    @classmethod
    def _in_words(cls, values: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return build(values)
        except ValidationError as error:
            said = [str(problem["loc"][0]) for problem in error.errors(include_input=False, include_context=False)]
            raise RequestError("\n".join(cls._complaint(name) for name in dict.fromkeys(said))) from None

    @classmethod
    def _complaint(cls, said: str) -> str:
        """What must be in a variable; `said` is its name, or its field's."""
        names = {name: cls.variables(name) for name in cls.model_fields}
        field = next(name for name, variables in names.items() if said in (name, *variables))
        variable = next((name for name in names[field] if os.environ.get(name)), names[field][0])
        return f"{variable} must be {must_be(field, cls.model_fields[field])}."

    @classmethod
    def variables(cls, field: str) -> list[str]:
        """The names under which the environment may hold a field."""
        alias = cls.model_fields[field].validation_alias
        if isinstance(alias, AliasChoices):
            return [str(choice) for choice in alias.choices]
        return [str(alias) if alias else f"STUDIO_{field.upper()}"]

    @property
    def can_sign_in(self) -> bool:
        """Only on a Space: elsewhere gradio's sign-in makes any visitor the owner of the machine's token."""
        return self.system == "spaces" and self.on_space and self.oauth_client_id is not None

    @property
    def machine_token(self) -> str | None:
        """HF_TOKEN, for whoever works on this machine itself."""
        return self.hub_token.get_secret_value() if self.hub_token is not None else None

    @property
    def own_hub_token(self) -> str | None:
        """The same for the page, if it has one owner; visitors of a shared page bring theirs."""
        return self.machine_token if self.owner_mode is Owners.single else None

    @property
    def space_token(self) -> str | None:
        """The Space's own secret, which manages the Space itself and is never used for a visitor."""
        return self.machine_token if self.on_space else None

    @property
    def jobs_image(self) -> str | None:
        """What a Job at Hugging Face runs, where that is known."""
        return self.image or (f"hf.co/spaces/{self.space_id}" if self.on_space else None)

    @property
    def can_run_jobs(self) -> bool:
        """Whether training in HF Jobs can be offered: an image is known, and somebody's token may pay."""
        signed_in = self.can_sign_in and self.owner_mode is Owners.huggingface and "jobs" in self.oauth_scopes.split()
        return self.jobs_image is not None and (signed_in or self.own_hub_token is not None)

    @property
    def on_space(self) -> bool:
        return self.space_id is not None

    @property
    def space_owner(self) -> str:
        """The account or organisation that owns the Space, and pays for it; empty on a machine that is none."""
        return self.space_author or (self.space_id or "").split("/")[0]

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
    def on_sqlite(self) -> bool:
        """Whether the jobs database is a file, which one machine alone may use."""
        return self.jobs_database_url.startswith("sqlite")

    @property
    def shared_dir(self) -> Path:
        """What all machines that serve one queue must see."""
        return self.shared or self.home

    @property
    def runs_dir(self) -> Path:
        return self.shared_dir / "runs"

    @property
    def speeds_file(self) -> Path:
        """What was measured on the machines here."""
        return self.shared_dir / "speeds.json"

    @property
    def cache_dir(self) -> Path:
        return self.home / "cache"

    @property
    def uploads_dir(self) -> Path:
        """What browsers send, until it was read."""
        return self.home / "uploads"

    @property
    def runtime_dir(self) -> Path:
        """Locks and sockets of the processes that run now."""
        return self.home / "runtime"

    def check_home(self) -> None:
        """Raise RequestError, with the path and the way out, where data cannot be written, mirrored or shared."""
        if self.shared is not None and self.on_sqlite:
            raise RequestError(
                "STUDIO_SHARED is for several machines, and SQLite is for one: set STUDIO_DATABASE_URL to a Postgres "
                "database that all of them reach."
            )
        for variable, folder in (("STUDIO_HOME", self.home), ("STUDIO_SHARED", self.shared_dir)):
            if (mirror := self.mirror_dir) is not None:
                check_apart(folder, mirror, variable)
            check_writable(folder, variable)
