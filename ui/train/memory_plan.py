"""What the plan says of memory."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.remote.offer import Quote
from jobs.runs.memory_need import gpu_bytes, least_bytes, ways_to_less
from trainer.bases import BaseTraits
from trainer.recipe.config import TrainConfig
from ui.html import file_size
from ui.services import Services


@dataclass(frozen=True)
class MemoryPlan:
    """How much a training takes, and what to do where that is too much; both empty where nothing is known."""

    words: str = ""
    warning: str = ""


def memory_here(services: Services, recipe: TrainConfig, traits: BaseTraits) -> MemoryPlan:
    """On the machines that take jobs now; how much other machines have is not known."""
    on_gpu, fleet = not services.only_cpu, services.jobs.fleet
    measured = services.jobs.speeds.memory.measured_bytes(recipe, on_gpu=on_gpu)
    has = gpu_bytes(fleet.own) if on_gpu and fleet.is_alone else None
    return _told(recipe, traits, measured, on_gpu=on_gpu, has=has)


def memory_there(quote: Quote, recipe: TrainConfig, traits: BaseTraits) -> MemoryPlan:
    """On a machine at Hugging Face."""
    flavor = quote.flavor
    return _told(recipe, traits, quote.memory_bytes, on_gpu=flavor.has_gpu, has=flavor.gpu_bytes)


def _told(
    recipe: TrainConfig, traits: BaseTraits, measured: int | None, *, on_gpu: bool, has: int | None
) -> MemoryPlan:
    needed = measured or (least_bytes(recipe, traits) if on_gpu else None)
    if needed is None:
        return MemoryPlan()
    words = f"{'about' if measured else 'at least'} {file_size(needed)} of {'GPU ' if on_gpu else ''}memory"
    if has is None or needed <= has:
        return MemoryPlan(words)
    *others, last = ways_to_less(recipe)
    advice = f"{', '.join(others)} or {last}" if others else last
    return MemoryPlan(words, f"The GPU has {file_size(has)} of memory, which is too little: {advice}.")
