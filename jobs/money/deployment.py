"""What this copy of the app is: one's own machine, the shared Space, or a duplicate of it."""

from __future__ import annotations

from enum import StrEnum

from trainer.settings import Owners, Settings


class Deployment(StrEnum):
    """What this copy of the app is."""

    local = "local"
    shared = "shared"
    duplicate = "duplicate"
    duplicate_with_gpu = "duplicate-with-gpu"


def find_deployment(settings: Settings, *, has_gpu: bool) -> Deployment:
    """Which of the four this copy is.

    A Space is not told whether it was duplicated. But secrets, unlike variables, are never copied, and a shared Space
    needs none: it has nothing of its own to manage. So a secret, or a single owner, means that somebody has made this
    copy theirs. A duplicate before its secret is set looks like the shared one, and the page's words are for both. A
    GPU means that somebody pays, whoever that is.
    """
    if not settings.on_space:
        return Deployment.local
    if has_gpu:
        return Deployment.duplicate_with_gpu
    own = settings.hub_token is not None or settings.owner_mode is Owners.single
    return Deployment.duplicate if own else Deployment.shared
