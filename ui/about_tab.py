"""The About page: what the methods do, this machine, and what happens to photos."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import gradio as gr

from jobs.publishing.card import SPACE
from trainer.bases import STARTER_FOLDER, inspect_base
from ui.html import render
from ui.services import Services

_SHOWN = ("gradio", "torch", "diffusers", "transformers", "accelerate", "peft", "xformers")


def build_about_tab(services: Services) -> None:
    """Draw the page; nothing on it changes."""
    gr.HTML(about_html(services))


def about_html(services: Services) -> str:
    """The whole page."""
    return render(
        "about.html",
        device=services.device_words if services.jobs.fleet.is_alone else "Several machines share the work",
        only_cpu=services.only_cpu,
        versions=_versions(),
        starter_px=inspect_base(STARTER_FOLDER).resolution_px,
        browser_owners=not services.owners.single,
        mirrored=services.keeping.mirror is not None,
        remote=services.remote is not None,
        space_url=services.spending.space_url,
        origin=SPACE,
    )


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _SHOWN:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
