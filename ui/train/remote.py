"""What the Train page needs to send a job to Hugging Face: with whose token, and who pays."""

from __future__ import annotations

import gradio as gr

from jobs.hub.client import read_account
from jobs.record.remote_run import RemoteRun
from jobs.remote.offer import record_of
from trainer.errors import HubError, HubTrouble, RequestError
from trainer.quantities import duration
from trainer.recipe.config import TrainConfig
from ui.services import Services
from ui.train.money_fields import MoneyWish


def prepare_remote(
    services: Services, recipe: TrainConfig, flavor: str, request: gr.Request, money: MoneyWish
) -> RemoteRun:
    """Check base, price and token, and hand the token to who will follow the Job, which ends at what it may cost.

    Raises RequestError for what cannot be trained there, HubError for a token that will not do.
    """
    if services.remote is None:
        raise RequestError("Training at Hugging Face is not set up here.")
    if money.release:
        raise RequestError(
            "A job at Hugging Face does not use this Space's paid hardware, so it is not given back after it. Take "
            "that wish back, or train on this machine."
        )
    quote = services.remote.quote(recipe, flavor, limit_usd=money.limit_usd)
    signed_in = services.owners.token_of(request)
    token = signed_in or services.tokens.own
    if token is None:
        raise HubError("Sign in first; your account pays for the machine.", HubTrouble.sign_in)
    lasts_s = services.owners.sign_in_lasts_s(request)
    if signed_in and lasts_s < quote.limit_s:
        raise RequestError(
            f"Your sign-in ends in {duration(lasts_s)}, which may be before the training does. Sign out and in again."
        )
    account = read_account(token)
    if account.role == "read":
        raise HubError("This token may only read. Use one that may run Jobs.", HubTrouble.forbidden)
    services.tokens.hand_over_for_training(services.owners.of(request), token)
    return record_of(quote, account.name)
