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

# Buttons in our HTML carry data-action; a press becomes a gradio event with all data-* attributes. Buttons with
# data-confirm ask once more, in place, because a browser's own dialogs do not open inside a Space's frame; a double
# click, or a key that is held down, asks and does not confirm.
# Which button has asked is kept by name: new content may put another button in the place of one, or the same anew.
# A button with data-opens scrolls to the panel of that id once it is there: the list beside it may be long.
ACTIONS_JS = """
let asked = null;
let askedAt = 0;
let patience = null;
const labels = new Map();
const nameOf = (button) => JSON.stringify([button.dataset.action, button.dataset.job, button.dataset.name]);
const showAsked = () => {
  for (const button of element.querySelectorAll('[data-confirm]')) {
    const isAsked = asked === nameOf(button);
    if (isAsked && button.textContent !== button.dataset.confirm) {
      labels.set(nameOf(button), button.textContent);
      button.textContent = button.dataset.confirm;
    } else if (!isAsked && button.textContent === button.dataset.confirm) {
      button.textContent = labels.get(nameOf(button));
    }
  }
};
const showOpened = (id, looks = 100) => {
  const panel = document.getElementById(id);
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  if (panel && panel.offsetParent) panel.scrollIntoView({ behavior: calm ? 'auto' : 'smooth', block: 'start' });
  else if (looks) setTimeout(showOpened, 100, id, looks - 1);
};
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-action]');
  if (!button || !element.contains(button) || button.disabled) return;
  const again = event.detail > 1 || (event.detail === 0 && Date.now() - askedAt < 500);
  if (button.dataset.confirm && asked === nameOf(button) && again) return;
  if (button.dataset.confirm && asked !== nameOf(button)) {
    asked = nameOf(button);
    askedAt = Date.now();
    clearTimeout(patience);
    patience = setTimeout(() => { asked = null; showAsked(); }, 4000);
    showAsked();
    return;
  }
  asked = null;
  showAsked();
  trigger('click', Object.assign({}, button.dataset));
  if (button.dataset.opens) showOpened(button.dataset.opens);
});
watch('value', showAsked);
"""

# What somebody unfolded, each under its data-unfolds, stays open when new content comes, which knows nothing of it.
UNFOLDED_JS = """
const unfolded = new Set();
element.addEventListener('click', (event) => {
  const details = event.target.closest('summary')?.parentElement;
  if (!details?.dataset.unfolds) return;
  if (details.open) unfolded.delete(details.dataset.unfolds);
  else unfolded.add(details.dataset.unfolds);
});
watch('value', () => {
  for (const details of element.querySelectorAll('details[data-unfolds]')) {
    details.open = unfolded.has(details.dataset.unfolds);
  }
});
"""

# Buttons that act, and the tab's title follows the element that the template marks with data-page-title.
ACTIONS_AND_TITLE_JS = (
    ACTIONS_JS
    + """
const follow = () => {
  const marked = element.querySelector('[data-page-title]');
  if (marked) document.title = marked.dataset.pageTitle;
};
follow();
watch('value', follow);
"""
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
