"""Who may use hardware that a Space's owner pays for: on a public copy the owner alone, unless it is open to all.

A machine of one's own, a private Space and one that costs nothing are open to whoever can open the page.
"""

from __future__ import annotations

from jobs.hub.client import read_account
from jobs.money.spending import Spending
from trainer.errors import HubError, RequestError
from trainer.settings import Owners, Settings


class Admission:
    """The door of one copy of the app. The treasurer finds out what hardware it has and who may open it."""

    def __init__(self, settings: Settings, spending: Spending) -> None:
        self._open_to_all = settings.open_to_all
        self._can_sign_in = settings.can_sign_in and settings.owner_mode is Owners.huggingface
        self._spending, self.owner = spending, settings.space_owner

    @property
    def is_for_owner_only(self) -> bool:
        """Whether a job here would be at the owner's cost, and a stranger may be asking."""
        if self._open_to_all or not self._spending.at_stake():
            return False
        state = self._spending.state()
        return state is None or state.public is not False

    def check(self, name: str | None, token: str | None) -> None:
        """Raise RequestError unless a visitor may queue jobs here: by the name and token of their sign-in, if any."""
        if not self.is_for_owner_only or (name is not None and name == self.owner):
            return
        if token is not None and self._manages(token):
            return
        raise RequestError(self._reason() + self._way_in(signed_in=name is not None))

    def _manages(self, token: str) -> bool:
        """Whether this is somebody of the organisation that owns the Space."""
        try:
            return self.owner in read_account(token).managed
        except HubError:
            return False

    def _reason(self) -> str:
        state = self._spending.state()
        if state is None or state.public is None:
            return "The Hub has not said yet whether this Space is public. Please try again in a minute."
        return (
            f"This Space is public and runs on hardware that {self.owner} pays for, so only {self.owner} may train "
            "here. Duplicate the Space to train on hardware of your own."
        )

    def _way_in(self, *, signed_in: bool) -> str:
        if signed_in:
            return ""
        if self._can_sign_in:
            return f" If you are {self.owner}, sign in."
        return f" If you are {self.owner}, make the Space private, or set STUDIO_OPEN_TO_ALL to 1."
