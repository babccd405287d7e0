"""The Library: what is offered for a concept that is on the Hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from huggingface_hub import HfApi
from markupsafe import escape

from app import build_services
from inference.catalog import open_concept
from jobs.publishing.publish import Published
from jobs.record.publications import PublicationState
from jobs.record.store import SINGLE_OWNER
from tests.engine.conftest import small_recipe
from tests.hub.accounts import ALICE
from tests.jobs.finished_run import write_finished_run
from tests.ui.conftest import VISITOR, drawn, learnt_concept
from trainer.errors import HubError
from trainer.machine.devices import cpu
from trainer.photos.intake import take_folder
from trainer.settings import Settings
from ui.html import render
from ui.library.entries import LibraryEntry
from ui.library.tab import LibraryTab

MUG = "alice/red-mug"
Client = Callable[[str | None], HfApi]


class Looking:
    """A page that is open: whether it asks again by itself."""

    def __init__(self, tab: LibraryTab) -> None:
        self._tab, self._mark, self._goes_on = tab, "", False

    def looks_on(self) -> bool:
        update = dict(zip(self._tab.view.outputs, self._tab.view.refresh(VISITOR, self._mark), strict=True))
        if update[self._tab.view._mark] != gr.skip():
            self._mark, self._goes_on = update[self._tab.view._mark], bool(update[self._tab.view._timer].active)
        return self._goes_on


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (
            "textual-inversion",
            {"<red-mug>": "diffusers", "red-mug": "AUTOMATIC1111", "embedding:red-mug": "ComfyUI"},
        ),
        (
            "dreambooth-lora",
            {"red-mug mug": "diffusers, ComfyUI", "<lora:red-mug:1> red-mug mug": "AUTOMATIC1111"},
        ),
        ("dreambooth", {"red-mug mug": "diffusers, AUTOMATIC1111, ComfyUI"}),
    ],
)
def test_each_tool_is_told_the_words_that_it_reads(
    tmp_path: Path, photo_folder: Path, method: str, words: dict[str, str]
) -> None:
    run = write_finished_run(tmp_path / "run", photo_folder, method=method)
    entry = LibraryEntry("job", open_concept(run.root), [], is_own=False, publication=None)
    assert entry.elsewhere == words
    shown = " ".join(render("library.html", entries=[entry], could_sign_in=False).split())
    for each, tools in words.items():
        assert f"<code>{escape(each)}</code> ({tools})" in shown


def test_private_concept_is_made_public(
    client: Client,
    tmp_path: Path,
    tiny_model: Path,
    photo_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The publisher is not there: it would find nothing left to do."""
    services = build_services(Settings(home=tmp_path / "home"), [cpu()])
    job = learnt_concept(services, tmp_path, tiny_model, photo_folder, "red-mug")
    services.jobs.publishing.record(job, MUG, Published(MUG, "0" * 40, f"https://x/{MUG}"), private=True)
    client(ALICE).create_repo(MUG, private=True)
    handed: list[str] = []
    monkeypatch.setattr(services.tokens, "hand_over", lambda _owner, token: handed.append(token))
    tab = drawn(lambda _page: LibraryTab(services))
    page = Looking(tab)
    assert 'data-action="make-public"' in tab._draw(VISITOR).content
    assert not page.looks_on()
    importing = services.jobs.submitting.submit(
        SINGLE_OWNER, small_recipe(tiny_model, "textual-inversion"), lambda photos: take_folder(photo_folder, photos)
    )
    assert page.looks_on()  # what is queued is to appear here
    services.jobs.cancel(importing.id, SINGLE_OWNER)
    assert not page.looks_on()

    def press(action: str) -> dict[Any, Any]:
        answer = tab._act(gr.EventData(None, {"action": action, "job": job}), VISITOR)
        return dict(zip(["panel", "job", "title", "repo", "private"], answer.values(), strict=True))

    assert press("publish")["private"] is True
    opened = press("make-public")
    assert (opened["repo"], opened["private"]) == (MUG, False)

    def publish(repo_id: str) -> None:
        tab._publish._publish(job, repo_id, ALICE, False, VISITOR)

    client(ALICE).create_repo("alice/other", private=True)
    with pytest.raises(HubError, match="exists and is private"):  # the concept is not there
        publish("alice/other")
    publish(MUG)
    assert client(None).model_info(MUG).id == MUG
    assert handed == [ALICE]
    publication = services.jobs.publishing.of(job)
    assert publication is not None
    assert (publication.state, publication.private) == (PublicationState.waiting, False)
    assert 'data-action="make-public"' not in tab._draw(VISITOR).content
    assert page.looks_on()  # until it is published
    services.jobs.close()
