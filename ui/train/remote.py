"""What is asked before a job goes to Hugging Face, for the first time or again: with whose token, and who pays."""

from __future__ import annotations

import gradio as gr

from jobs.hub.client import Account, read_account
from jobs.record.remote_run import RemoteRun, Stage
from jobs.remote.offer import RemoteOffer, record_of
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
    offer = _offer_of(services)
    if money.release:
        raise RequestError(
            "A job at Hugging Face does not use this Space's paid hardware, so it is not given back after it. Take "
            "that wish back, or train on this machine."
        )
    quote = offer.quote(recipe, flavor, limit_usd=money.limit_usd)
    return record_of(quote, _hand_over_token(services, request, lasts_s=quote.limit_s).name)


def prepare_again(services: Services, record: RemoteRun, request: gr.Request) -> RemoteRun:
    """Check the same for the next start of a run, at today's price; returns its record.

    One whose Job may still run is only followed and fetched. Raises as `prepare_remote` does.
    """
    if record.stage is Stage.sent:
        _hand_over_token(services, request, lasts_s=0)
        return record
    following = _offer_of(services).requoted(record)
    account = _hand_over_token(services, request, lasts_s=following.limit_s)
    # photos that were sent already lie in a bucket of the account that was to pay then
    return following if following.has_begun else following.model_copy(update={"namespace": account.name})


def _offer_of(services: Services) -> RemoteOffer:
    if services.remote is None:
        raise RequestError("Training at Hugging Face is not set up here.")
    return services.remote


def _hand_over_token(services: Services, request: gr.Request, *, lasts_s: float) -> Account:
    """Give this visitor's token, which must hold for so long, to who will follow the Job; returns whose it is."""
    signed_in = services.owners.token_of(request)
    token = signed_in or services.tokens.own
    if token is None:
        raise HubError("Sign in first; your account pays for the machine.", HubTrouble.sign_in)
    ends_in_s = services.owners.sign_in_lasts_s(request)
    if signed_in and ends_in_s < lasts_s:
        raise RequestError(
            f"Your sign-in ends in {duration(ends_in_s)}, which may be before the training does. Sign out and in again."
        )
    account = read_account(token)
    if account.role == "read":
        raise HubError("This token may only read. Use one that may run Jobs.", HubTrouble.forbidden)
    services.tokens.hand_over_for_training(services.owners.of(request), token)
    return account
