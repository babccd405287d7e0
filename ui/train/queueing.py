"""What follows a press of Train: who may train where, the place in the queue, what it may cost, its publication."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import gradio as gr

from jobs.record.comparison import Order
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
        """The owner, who may train where they want to. Raises RequestError for who may not, or where nobody may now.

        The supervisors are given the token of whoever signed in, for a base that not everybody may read.
        """
        owner = self._services.owners.of(request)
        if press.flavor is None:
            self._services.admit(request)
            if hub_token is not None and self._services.owners.find_base(base).on_hub:
                self._services.tokens.hand_over_for_fetching(owner, hub_token)
        else:
            self._services.spending.check_open()  # its photos and its record are here all the same
        return owner

    def queue(self, owner: str, recipes: Sequence[TrainConfig], press: Press, request: gr.Request) -> str:
        """Queue the job of an admitted owner, or two that are to be compared: both or neither; returns the first's id.

        A second press for the same draft is the same job.
        """
        draft = press.photos()
        if press.flavor is None:
            for recipe in recipes:
                self._services.check_precision(recipe)
        repos = self._repos(recipes, press.publish, request)
        jobs = self._submit(owner, self._orders(recipes, press, request), draft)
        for job_id, (repo_id, private) in zip(jobs, repos, strict=False):
            self._services.jobs.publishing.ask(job_id, owner, repo_id, private=private)
        self._services.drafts.discard(owner, draft)
        return jobs[0]

    def _submit(self, owner: str, orders: Sequence[Order], draft: str) -> Sequence[str]:
        """The jobs' ids."""
        submitting, photos = self._services.jobs.submitting, partial(self._services.drafts.copy_to, owner, draft)
        if len(orders) == 1:
            (order,) = orders
            job = submitting.submit(owner, order.recipe, photos, press_id=draft, bill=order.bill, remote=order.remote)
            return [job.id]
        first, second = orders
        return submitting.submit_pair(owner, (first, second), photos, press_id=draft).jobs

    def _repos(
        self, recipes: Sequence[TrainConfig], wish: PublishWish | None, request: gr.Request
    ) -> list[tuple[str, bool]]:
        """Where each is published, and whether privately; of two, each adds its method to the name."""
        if wish is None:
            return []
        names = [wish.repo or recipe.name for recipe in recipes]
        if len(recipes) > 1:
            names = [f"{name}-{recipe.method.value}" for name, recipe in zip(names, recipes, strict=True)]
        private = wish.private
        return [(prepare_publication(self._services, name, request, private=private), private) for name in names]

    def _orders(self, recipes: Sequence[TrainConfig], press: Press, request: gr.Request) -> list[Order]:
        """Each with its share of what all may cost."""
        if press.flavor is not None:
            limits = shares_of(press.money.limit_usd, [None] * len(recipes))
            moneys = [replace(press.money, limit_usd=limit) for limit in limits]
            return [
                Order(recipe, remote=prepare_remote(self._services, recipe, press.flavor, request, money))
                for recipe, money in zip(recipes, moneys, strict=True)
            ]
        needed = [self._services.jobs.speeds.seconds_for(recipe) for recipe in recipes]
        bills = [
            self._services.spending.conditions(limit, release=press.money.release, seconds=seconds)
            for limit, seconds in zip(shares_of(press.money.limit_usd, needed), needed, strict=True)
        ]
        return [Order(recipe, bill) for recipe, bill in zip(recipes, bills, strict=True)]


def shares_of(limit: float | None, needed_s: Sequence[float | None]) -> list[float | None]:
    """A limit for several jobs as one for each, by the time that they should take; equal where one is not known."""
    if limit is None:
        return [None] * len(needed_s)
    known = [seconds for seconds in needed_s if seconds]
    if len(known) < len(needed_s):
        return [limit / len(needed_s)] * len(needed_s)
    return [limit * seconds / sum(known) for seconds in known]
