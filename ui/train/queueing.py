"""What follows a press of Train: who may train where, the place in the queue, what it may cost, its publication."""

from __future__ import annotations

from dataclasses import dataclass, field

import gradio as gr

from jobs.record.bill import Bill
from trainer.errors import RequestError
from trainer.recipe.config import TrainConfig
from ui.publishing import prepare_publication
from ui.services import Services
from ui.train.money_fields import MoneyWish
from ui.train.publish_fields import PublishWish
from ui.train.remote import prepare_remote


@dataclass(frozen=True)
class Press:
    """What a press of Train comes with, besides the recipe; `flavor` is a machine at Hugging Face, None is this one."""

    draft: str
    publish: PublishWish | None = None
    money: MoneyWish = field(default_factory=MoneyWish)
    flavor: str | None = None

    def photos(self) -> str:
        """The draft that holds them. Raises RequestError where there are none."""
        if not self.draft:
            raise RequestError("Add some photos first.")
        return self.draft


class Queueing:
    """Queues jobs of visitors."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def admit(self, base: str, hub_token: str | None, press: Press, request: gr.Request) -> str:
        """The owner, who may train where they want to. Raises RequestError for who may not.

        The supervisors are given the token of whoever signed in, for a base that not everybody may read.
        """
        owner = self._services.owners.of(request)
        if press.flavor is None:
            self._services.admit(request)
            if hub_token is not None and self._services.owners.find_base(base).on_hub:
                self._services.tokens.hand_over_for_fetching(owner, hub_token)
        return owner

    def queue(self, owner: str, recipe: TrainConfig, press: Press, request: gr.Request) -> str:
        """Queue the job of an admitted owner; returns its id. A second press for the same draft is the same job."""
        draft = press.photos()
        if press.flavor is None:
            self._services.check_precision(recipe)
        wish = press.publish
        repo_id = None
        if wish is not None:
            repo_id = prepare_publication(self._services, wish.repo or recipe.name, request, private=wish.private)
        remote = None
        if press.flavor is not None:
            remote = prepare_remote(self._services, recipe, press.flavor, request, press.money)
        job = self._services.jobs.submitting.submit(
            owner,
            recipe,
            lambda folder: self._services.drafts.copy_to(owner, draft, folder),
            press_id=draft,
            bill=self._bill(recipe, press.money) if remote is None else None,
            remote=remote,
        )
        if wish is not None and repo_id is not None:
            self._services.jobs.publishing.ask(job.id, owner, repo_id, private=wish.private)
        self._services.drafts.discard(owner, draft)
        return job.id

    def _bill(self, recipe: TrainConfig, money: MoneyWish) -> Bill | None:
        """On what conditions the job may cost money on this machine."""
        seconds = self._services.jobs.speeds.seconds_for(recipe)
        return self._services.spending.conditions(money.limit_usd, release=money.release, seconds=seconds)
