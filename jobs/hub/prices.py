"""What hardware at Hugging Face costs, by the Hub's own price list; no price is ever assumed."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.hub.client import hub_errors, open_hub

_PER_HOUR = {"second": 3600, "minute": 60, "hour": 1}


@dataclass(frozen=True)
class Price:
    """A line of the price list."""

    machine: str
    usd_per_hour: float


def read_price(flavor: str) -> Price | None:
    """The price of a Space's hardware; None where the list does not name one. Raises HubError."""
    with hub_errors(what="the price list"):
        listed = open_hub(None).list_spaces_hardware()
    entry = next((entry for entry in listed if entry.name == flavor), None)
    an_hour = usd_per_hour(entry.unit_cost_usd, entry.unit_label) if entry else None
    return Price(entry.pretty_name, an_hour) if entry and an_hour is not None else None


def usd_per_hour(cost_usd: float, unit: str) -> float | None:
    """A price by the hour; None for a unit of time that is not known here."""
    return cost_usd * _PER_HOUR[unit] if unit in _PER_HOUR else None
