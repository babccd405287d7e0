"""Buttons in our own HTML: what they do in the browser, and what a handler is told of a press."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer.errors import RequestError

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


def pressed(event: gr.EventData) -> dict[str, Any]:
    """The data-* attributes of the button that was pressed, each by its name without `data-`."""
    data: dict[str, Any] = event._data  # noqa: SLF001 - gradio's own way to the event's data
    return data


def unknown_button(action: object) -> RequestError:
    """For a press of a button that the page does not have, such as one of an older version that is still open."""
    return RequestError(f"The button {action!r} is not known. Reload the page.")
