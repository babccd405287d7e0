"""What the page and the generator say to each other: JSON lines over a Unix socket that only this user may open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from inference.request import PictureRequest
from trainer.machine.local_socket import socket_path

MAX_LINE = 256 * 1024


def generator_socket(runtime: Path) -> Path:
    return socket_path(runtime, "generator")


class Ask(BaseModel):
    """The one line that a client sends: the request, and the folder that its pictures go to."""

    model_config = ConfigDict(frozen=True)

    request: PictureRequest
    folder: Path
    token: str | None = Field(None, repr=False)
    """Of who asks: with it a base is fetched that not everybody may read. It is kept nowhere."""


class Waiting(BaseModel):
    """Not begun yet: `ahead` requests come first, or training holds the device."""

    event: Literal["waiting"] = "waiting"
    ahead: int
    for_training: bool = False


class Working(BaseModel):
    """`done` of `total` denoiser calls, counted for each picture and 0 while models are loaded; or megabytes of a base
    that is downloaded first.
    """

    event: Literal["working"] = "working"
    done: int
    total: int
    unit: Literal["steps", "MB"] = "steps"


class Made(BaseModel):
    """The pictures, in the order of the seeds."""

    event: Literal["made"] = "made"
    files: list[Path]
    notes: list[str]
    seconds: float


class Refused(BaseModel):
    """No pictures, and why."""

    event: Literal["refused"] = "refused"
    text: str


Answer = Annotated[Waiting | Working | Made | Refused, Field(discriminator="event")]
ANSWERS: TypeAdapter[Waiting | Working | Made | Refused] = TypeAdapter(Answer)
