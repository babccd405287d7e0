"""The page as a whole: its tabs in the order of the work, and what one tab does to another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import gradio as gr

from trainer.errors import RequestError
from ui.about_tab import build_about_tab
from ui.api.endpoints import build_api, hide_all_else
from ui.errors import spoken
from ui.html import render
from ui.jobs_tab import TITLE, JobsTab
from ui.library.tab import LibraryTab
from ui.listening import QUIET, QUIET_AT_ONCE
from ui.services import Services
from ui.space_banner import SpaceBanner
from ui.train.tab import TrainTab
from ui.try_it.tab import TryTab
from ui.try_it.tried import what_was_tried

_LOOK_AT_GPUS_S = 30.0
_OPENED_A_TAB = """() => setTimeout(() => {
  const open = document.querySelector('#tabs [role=tab][aria-selected=true]');
  const name = open ? '#' + open.dataset.tabId : location.hash;
  if (name === location.hash) return;
  const address = location.pathname + location.search + name;
  if (location.hash) { history.pushState(null, '', address); scrollTo(0, 0); }
  else history.replaceState(null, '', address);
})"""
_GO_BACK_TO_TABS = """() => {
  const open = () => document.querySelector(`#tabs [role=tab][data-tab-id="${location.hash.slice(1)}"]`)?.click();
  addEventListener('popstate', open);
  return [location.hash.slice(1)];
}"""


def build_page(services: Services) -> gr.Blocks:
    """Draw everything and wire it; launching is the caller's."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=False, delete_cache=(3600, 86400)) as page:
        header = gr.HTML(header_html(services), elem_id="header")
        if not (services.jobs.fleet.is_alone and services.only_cpu):
            for trigger in (gr.Timer(_LOOK_AT_GPUS_S).tick, page.load):
                trigger(spoken(lambda: header_html(services)), None, header, **QUIET_AT_ONCE)
        SpaceBanner(services, page)
        if services.owners.can_sign_in:
            gr.LoginButton("Sign in with Hugging Face", logout_value="Sign out {}", size="sm", elem_id="sign-in")
            page.load(spoken(_welcome_back(services)), None, None, **QUIET_AT_ONCE)
        tried = what_was_tried()
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Train", id="train") as train_page:
                train = TrainTab(services, page)
            with gr.Tab("Jobs", id="jobs") as jobs_page:
                jobs = JobsTab(services, page)
            with gr.Tab("Try it", id="try") as try_page:
                trying = TryTab(services, tried)
            with gr.Tab("Library", id="library") as library_page:
                library = LibraryTab(services)
            with gr.Tab("About", id="about") as about_page:
                build_about_tab(services)
        _keep_open(page, tabs, [train_page, jobs_page, try_page, library_page, about_page])
        _connect(tabs, train, jobs, trying, library)
        jobs.view.refresh_on(jobs_page.select)
        for opened in (
            try_page.select(spoken(trying.refresh), trying.looked_at, trying.refreshed, **QUIET_AT_ONCE),
            page.load(spoken(trying.restore), trying.remembered, trying.restored, **QUIET_AT_ONCE),
        ):
            opened.success(spoken(trying.drawing.look), trying.drawing.looks_at, trying.drawing.looks, **QUIET_AT_ONCE)
        for trigger in (library_page.select, page.load):
            library.view.refresh_on(trigger)
        build_api(services)
    hide_all_else(page)
    return page


def header_html(services: Services) -> str:
    """The name of the app, what it trains on, and what is wrong with that."""
    trouble = services.device_trouble()
    return render("header.html", device=services.device_words, demo=services.only_cpu, trouble=trouble)


def _welcome_back(services: Services) -> Callable[[gr.Request], None]:
    """Who signed in gives a token to each process that works with the Hub; they go on with what waited for it."""

    def hand_over(request: gr.Request) -> None:
        if (token := services.owners.token_of(request)) is None:
            return
        owner = services.owners.of(request)
        with contextlib.suppress(RequestError):  # the publisher is starting; the next visit will do
            services.tokens.hand_over(owner, token)
            services.jobs.publishing.retry_after_sign_in(owner)
        with contextlib.suppress(RequestError):
            services.tokens.hand_over_for_fetching(owner, token)
        with contextlib.suppress(RequestError):  # there where jobs can be sent to Hugging Face, or were
            services.tokens.hand_over_for_training(owner, token)

    return hand_over


def _keep_open(page: gr.Blocks, tabs: gr.Tabs, pages: list[gr.Tab]) -> None:
    """The address names the tab that is open: a reload or a link opens it again, the way back leads through tabs."""
    tabs.change(None, None, None, js=_OPENED_A_TAB, **QUIET)
    known = [tab.id for tab in pages]
    named = gr.Textbox(visible=False)
    page.load(
        lambda name: gr.Tabs(selected=name) if name in known else gr.skip(),
        named,
        tabs,
        js=_GO_BACK_TO_TABS,
        **QUIET_AT_ONCE,
    )


def _connect(tabs: gr.Tabs, train: TrainTab, jobs: JobsTab, trying: TryTab, library: LibraryTab) -> None:
    """A started job is watched on the Jobs page; a concept of Jobs or Library is tried on the Try it page.

    A job's photos are trained on again on the Train page.
    """
    train.pressed.success(lambda: gr.Tabs(selected="jobs"), None, tabs, **QUIET_AT_ONCE)
    jobs.view.refresh_on(train.pressed.success)
    train.pressed.success(spoken(jobs.comparing.open_if_pair), train.submitted, jobs.comparing.opened, **QUIET_AT_ONCE)
    jobs.again.change(_opening("train"), jobs.again, tabs, **QUIET_AT_ONCE).then(
        spoken(train.refill), [jobs.again, train.own_photos], train.refilled, **QUIET_AT_ONCE, cancels=train.following
    ).then(lambda: "", None, jobs.again, **QUIET_AT_ONCE)
    for tab in (jobs, library):
        tab.chosen.change(_opening("try"), tab.chosen, tabs, **QUIET_AT_ONCE).then(
            spoken(trying.pick), tab.chosen, trying.picked, **QUIET_AT_ONCE
        ).then(lambda: "", None, tab.chosen, **QUIET_AT_ONCE)


def _opening(tab: str) -> Callable[[str], Any]:
    """Opens a tab for a job that was chosen; the empty id stands there before and after."""
    return lambda job_id: gr.Tabs(selected=tab) if job_id else gr.skip()
