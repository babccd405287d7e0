"""What a Space asks of the Hub about itself: hardware, sleep timer, release.

Only the Space's own secret HF_TOKEN may change the Space; a visitor's token cannot, and is never used for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from huggingface_hub import SpaceHardware, SpaceRuntime

from jobs.hub.client import CLIENT_ERRORS, explain, open_hub
from trainer.errors import HubError, HubTrouble

FREE = SpaceHardware.CPU_BASIC.value
NO_SECRET = (
    "The secret HF_TOKEN is missing, so this app can neither set the sleep timer nor give the hardware back. In the "
    "Space's Settings, under Variables and secrets, press New secret: the name is HF_TOKEN, the value an access token "
    "that may write to this Space."
)
_WORDS = {
    HubTrouble.sign_in: "The Hub does not take the secret HF_TOKEN: it has ended, was revoked or is wrong. "
    "Put a new one in the Space's Settings.",
    HubTrouble.forbidden: "The secret HF_TOKEN may not manage this Space. Give it write access to this Space, or put "
    "another one in the Space's Settings.",
    HubTrouble.missing: "The secret HF_TOKEN does not reach this Space. Put one of its owner in the Space's Settings.",
    HubTrouble.credits: "The account that owns this Space has no credits.",
}


@dataclass(frozen=True)
class Hardware:
    """Where the Space runs. `flavor` is what was asked for last; `sleep_s` is None where it never sleeps."""

    flavor: str
    sleep_s: int | None

    @property
    def free(self) -> bool:
        return is_free(self.flavor)


def is_free(flavor: str) -> bool:
    """Whether this hardware costs its Space nothing; ZeroGPU is paid by its visitors' quotas."""
    return flavor == FREE or flavor.startswith("zero-")


class OwnSpace:
    """The Space that this app runs on. Every call answers, or raises HubError, within the Hub client's time-outs."""

    def __init__(self, space_id: str, token: str | None) -> None:
        self._id, self._token = space_id, token

    @property
    def can_manage(self) -> bool:
        """Whether there is a secret at all."""
        return self._token is not None

    def look(self) -> Hardware:
        """Where it runs now. A public Space can be asked about without a secret."""
        try:
            return _hardware(open_hub(self._token).get_space_runtime(self._id))
        except CLIENT_ERRORS as error:
            if not self.can_manage and explain(error, what=self._id).trouble is not HubTrouble.later:
                raise HubError(NO_SECRET, HubTrouble.sign_in) from error
            raise _explained(error) from error

    def is_public(self) -> bool:
        """Whether anybody may open the app. A protected Space hides its files alone, which only its secret is told."""
        visibility = self._visibility(None)
        if visibility is None and self._token is not None:
            visibility = self._visibility(self._token)
        return visibility in ("public", "protected")

    def _visibility(self, token: str | None) -> str | None:
        """What the Hub says of it to the holder of a token; None where it says nothing to them."""
        try:
            info: Any = open_hub(token).space_info(self._id)
        except CLIENT_ERRORS as error:
            if explain(error, what=self._id).trouble is HubTrouble.later:
                raise _explained(error) from error
            return None
        return getattr(info, "visibility", "private" if info.private else "public")

    def set_sleep(self, seconds: int) -> Hardware:
        """Let paid hardware sleep after so long without a visitor; returns what the Hub then says."""
        self._check_secret()
        try:
            open_hub(self._token).set_space_sleep_time(self._id, seconds)
        except CLIENT_ERRORS as error:
            raise _explained(error) from error
        seen = self.look()
        if seen.sleep_s != seconds:
            raise HubError("The Hub took the sleep timer but does not confirm it.", HubTrouble.later)
        return seen

    def give_back(self) -> Hardware:
        """Move to the free hardware, which restarts the Space; returns what the Hub then says.

        The Hub is asked first: a request whose answer was lost, or that a killed process made, is not made again.
        """
        self._check_secret()
        if (seen := self.look()).free:
            return seen
        try:
            open_hub(self._token).request_space_hardware(self._id, SpaceHardware.CPU_BASIC)
        except CLIENT_ERRORS as error:
            raise _explained(error) from error
        if not (seen := self.look()).free:
            raise HubError("The Hub took the request but does not confirm it.", HubTrouble.later)
        return seen

    def _check_secret(self) -> None:
        if not self.can_manage:
            raise HubError(NO_SECRET, HubTrouble.sign_in)


def _hardware(runtime: SpaceRuntime) -> Hardware:
    return Hardware(str(runtime.requested_hardware or runtime.hardware or FREE), runtime.sleep_time)


def _explained(error: Exception) -> HubError:
    found = explain(error, what="this Space")
    return HubError(_WORDS.get(found.trouble, str(found)), found.trouble, retry_after_s=found.retry_after_s)
