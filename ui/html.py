"""HTML that gradio has no widget for: templates with every value escaped, and the loss curve as a small SVG."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from jobs.record.bill import dollars
from trainer.quantities import duration, file_size
from ui.method_words import method_words

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def smoothed(values: list[float], weight: float = 0.9) -> list[float]:
    """An exponential moving average without the pull towards zero at its start."""
    result: list[float] = []
    average, correction = 0.0, 0.0
    for value in values:
        average = weight * average + (1 - weight) * value
        correction = weight * correction + (1 - weight)
        result.append(average / correction)
    return result


def loss_curve(losses: Mapping[int, float], total: int, *, width: int = 320, height: int = 72) -> Markup:
    """The loss by step as an SVG, faint as measured and strong as smoothed; empty for fewer than two points.

    A point for every second pixel at most: a page shows many curves, and it is sent anew with every change.
    """
    steps = sorted(losses)
    if len(steps) < 2 or total < 1:
        return Markup("")
    raw = [losses[step] for step in steps]
    smooth = smoothed(raw)
    low, high = min(raw), sorted(raw)[int(0.98 * (len(raw) - 1))]
    span = max(high - low, 1e-9)

    every = -(-2 * len(steps) // width)
    shown = [*range(0, len(steps) - 1, every), len(steps) - 1]

    def points(values: list[float]) -> str:
        return " ".join(
            f"{steps[i] / total * width:.1f},{height - 3 - min(1.0, (values[i] - low) / span) * (height - 6):.1f}"
            for i in shown
        )

    label = f"Loss, {raw[0]:.3f} at the start, {smooth[-1]:.3f} now, smoothed"
    return Markup(
        f'<svg class="loss" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" aria-label="{{}}">'
        '<polyline class="raw" points="{}"/><polyline class="smooth" points="{}"/></svg>'
    ).format(label, points(raw), points(smooth))


def unbroken(words: str) -> str:
    """A number and its unit on one line."""
    return words.replace(" ", "\N{NO-BREAK SPACE}")


def moment(seconds: float) -> str:
    """A day and a time of day, of seconds since the epoch."""
    return unbroken(f"{datetime.fromtimestamp(seconds, UTC):%d %b %H:%M} UTC")


_ENVIRONMENT.filters["duration"] = lambda seconds: unbroken(duration(seconds))
_ENVIRONMENT.filters["file_size"] = lambda count: unbroken(file_size(count))
_ENVIRONMENT.filters["moment"] = moment
_ENVIRONMENT.filters["dollars"] = dollars
_ENVIRONMENT.filters["method_words"] = method_words
_ENVIRONMENT.globals["loss_curve"] = loss_curve


def render(template: str, **values: Any) -> str:
    """A template of ui/templates with these values, all escaped."""
    return _ENVIRONMENT.get_template(template).render(**values)
