"""What training at Hugging Face would take and cost, and the record that sends a run there."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.record.bill import dollars
from jobs.record.remote_run import RemoteRun, Stage, stops_after_s
from jobs.remote.hardware import Flavor, PriceList
from jobs.runs.speed import speeds_of
from trainer.bases import find_base
from trainer.errors import RequestError
from trainer.quantities import duration
from trainer.recipe.choices import STARTER
from trainer.recipe.config import DreamBoothLoraRecipe, DreamBoothRecipe, TrainConfig
from trainer.settings import Settings

_LEAST_S = 300
"""A Job's first minutes go into its image and the base."""


@dataclass(frozen=True)
class Quote:
    """A run on a machine of Hugging Face. What is None is so until a first run there has measured it."""

    flavor: Flavor
    seconds: float | None
    usd: float | None
    limit_s: int
    most_usd: float
    """What it costs if it needs all of its time limit."""
    memory_bytes: int | None = None
    """The most that it holds of the machine's memory, or of its GPU's where it has one."""


class RemoteOffer:
    """Training at Hugging Face, as the page offers it."""

    def __init__(self, settings: Settings) -> None:
        self._speeds, self._limit_s = settings.shared_dir, settings.jobs_limit_min * 60
        self.prices = PriceList()

    def quote(self, recipe: TrainConfig, flavor_name: str, *, limit_usd: float | None = None) -> Quote:
        """A run that stops, and keeps what it has learnt, before it costs more than `limit_usd`.

        Raises RequestError for what cannot be trained there or for so little money, HubError where the prices cannot
        be read.
        """
        if recipe.base != STARTER and not find_base(recipe.base).on_hub:
            raise RequestError("Hugging Face does not have this base; choose the demo model or a model of the Hub.")
        if isinstance(recipe, DreamBoothLoraRecipe | DreamBoothRecipe) and recipe.class_images_dir is not None:
            raise RequestError(
                "Hugging Face does not have this folder of class pictures; leave class_images_dir empty."
            )
        flavor = self.prices.flavor(flavor_name)
        speeds = speeds_of(self._speeds, flavor.name)
        estimate = speeds.estimate(recipe)
        seconds = (
            estimate.seconds if estimate is not None and estimate.measured else None
        )  # guesses are for this machine
        limit_s = self._limit_s
        if limit_usd is not None and flavor.usd_per_hour > 0:
            paid_s = int(limit_usd / flavor.usd_per_hour * 3600)
            if paid_s < _LEAST_S or stops_after_s(paid_s) < (seconds or 0):
                raise RequestError(
                    f"{dollars(limit_usd)} pays for {duration(stops_after_s(paid_s))} of training on this machine, "
                    "which is too short. Allow it to cost more, or choose another machine."
                )
            limit_s = min(limit_s, paid_s)
        return Quote(
            flavor=flavor,
            seconds=seconds,
            usd=seconds / 3600 * flavor.usd_per_hour if seconds is not None else None,
            limit_s=limit_s,
            most_usd=limit_s / 3600 * flavor.usd_per_hour,
            memory_bytes=speeds.memory.measured_bytes(recipe, on_gpu=flavor.has_gpu),
        )

    def requoted(self, record: RemoteRun) -> RemoteRun:
        """The record of a run's next start, which has today's price and costs no more than its owner agreed to.

        It may be one that was not sent yet, but none whose Job may still run.

        Raises RequestError where that has become too little or its machine is not offered any more, HubError where the
        prices cannot be read.
        """
        flavor = next((flavor for flavor in self.prices.flavors() if flavor.name == record.flavor), None)
        if flavor is None:
            raise RequestError(
                f"Hugging Face does not offer {record.machine} any more. Resume it here, or train again on another one."
            )
        limit_s = self._limit_s
        if flavor.usd_per_hour > 0:
            limit_s = min(limit_s, round(record.most_usd / flavor.usd_per_hour * 3600))
        if limit_s < _LEAST_S:
            raise RequestError(
                f"{flavor.label} by now, so that the {dollars(record.most_usd)} that it may cost are too little. "
                "Resume it here, or train again and allow it to cost more."
            )
        following = record.again(asked=True) if record.stage is Stage.over else record
        price = {"usd_per_hour": flavor.usd_per_hour, "limit_s": limit_s, "rest_s": None}
        return following.model_copy(update=price)


def record_of(quote: Quote, payer: str) -> RemoteRun:
    """The record of a run that `payer`, an account of the Hub, pays for."""
    return RemoteRun(
        flavor=quote.flavor.name,
        machine=quote.flavor.words,
        usd_per_hour=quote.flavor.usd_per_hour,
        limit_s=quote.limit_s,
        namespace=payer,
    )
