"""What the page and the generator say to each other: JSON lines over a Unix socket that only this user may open."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from inference.request import PictureRequest

MAX_LINE = 256 * 1024
_LONGEST_SOCKET_PATH = 100


def socket_path(runtime: Path) -> Path:
    """The generator's socket; in the temporary directory where the data root's path is too long for one."""
    path = runtime / "generator.sock"
    if len(str(path)) <= _LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"concept-studio-{digest}.sock"


class Ask(BaseModel):
    """The one line that a client sends: the request, and the folder that its pictures go to."""

    model_config = ConfigDict(frozen=True)

    request: PictureRequest
    folder: Path


class Waiting(BaseModel):
    """Not begun yet: `ahead` requests come first, or training holds the device."""

    event: Literal["waiting"] = "waiting"
    ahead: int
    for_training: bool = False


class Working(BaseModel):
    """`done` of `total` denoiser calls; 0 while models are loaded."""

    event: Literal["working"] = "working"
    done: int
    total: int


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
