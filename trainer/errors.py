"""Every error that this project raises on purpose, in one tree.

StudioError
├── RequestError            the request is wrong; nothing was written             exit 2
│   ├── RecipeError         one or more fields of a recipe, all named at once
│   ├── PhotoError          one photo cannot be used, and why
│   ├── BaseModelError      the base model is missing, unsafe or of another family
│   ├── ConceptError        a trained concept is missing or does not fit the base
│   ├── WeightsError        a weights file from elsewhere is unsafe, damaged or of no known kind
│   └── BusyError           somebody else holds what is asked for (run folder, device)
├── TrainingStopped         stopped on request, with a checkpoint kept            exit 3
├── TrainingError           training failed; says the cause and what to do        exit 1
│   └── VerificationError   an artifact was written but does not hold
├── PictureError            pictures could not be made, and why                   exit 1
├── MirrorError             the mirror is away or not whole; nothing local is lost  exit 1
└── HubError                the Hub refused, or did not answer; nothing is lost   exit 1
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

EXIT_DONE, EXIT_FAILED, EXIT_REQUEST, EXIT_STOPPED = 0, 1, 2, 3


class StudioError(Exception):
    """Base of all; `str(error)` is a sentence for the person who uses the app."""

    exit_code = EXIT_FAILED


class RequestError(StudioError):
    """The request cannot be carried out as it stands."""

    exit_code = EXIT_REQUEST


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a recipe: the field it belongs to and a sentence."""

    field: str
    message: str


class RecipeError(RequestError):
    """A recipe that cannot be trained; `problems` holds all of them."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.field}: {p.message}" for p in problems))


class PhotoError(RequestError):
    """A photo that cannot be used."""


class BaseModelError(RequestError):
    """A base model that cannot be used."""


class ConceptError(RequestError):
    """A trained concept that cannot be used as asked."""


class WeightsError(RequestError):
    """A weights file from elsewhere that is not taken in."""


class BusyError(RequestError):
    """Another process holds the run folder or the device; `pid` is that process, where known."""

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        self.pid = pid
        super().__init__(message)


class TrainingStopped(StudioError):
    """Stopped on request; the checkpoint of `step` is kept."""

    exit_code = EXIT_STOPPED

    def __init__(self, step: int) -> None:
        self.step = step
        kept = f"Stopped at step {step}. The checkpoint is kept; resume goes on from there."
        super().__init__(kept if step else "Stopped before the first step; resume begins with it.")


class TrainingError(StudioError):
    """Training failed. `advice` says what the person can do."""

    def __init__(self, cause: str, advice: str) -> None:
        self.cause, self.advice = cause, advice
        super().__init__(f"{cause} {advice}")


class VerificationError(TrainingError):
    """An artifact does not load, does not match its hashes or does not make a picture."""


class PictureError(StudioError):
    """Pictures could not be made."""


class MirrorError(StudioError):
    """The mirror is not there, or a copy in it is not whole."""


class HubTrouble(StrEnum):
    """What stands between a result and the Hub, by what has to happen next."""

    sign_in = "sign-in"  # the token is missing, wrong or ended: sign in again
    forbidden = "forbidden"  # the token is good, but not for this
    taken = "taken"  # the name belongs to somebody else, or holds files that are not ours
    missing = "missing"  # there is no such repository
    credits = "credits"  # the account has nothing to pay with
    later = "later"  # the Hub is busy, slow or away: the same again after a while
    refused = "refused"  # anything else that the same request will not change


class HubError(StudioError):
    """The Hub did not do what was asked. `retry_after_s` is what it asked for, where it said so."""

    def __init__(self, message: str, trouble: HubTrouble, *, retry_after_s: float | None = None) -> None:
        self.trouble, self.retry_after_s = trouble, retry_after_s
        super().__init__(message)
