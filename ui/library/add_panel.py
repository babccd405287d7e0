"""Adding a concept that was made elsewhere: a file, or what somebody's repository on the Hub holds."""

from __future__ import annotations

import html
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from jobs.submission.bringing_in import Wish
from trainer.bases import PINNED
from trainer.errors import HubError, RequestError
from trainer.imports.task import suggested_name
from trainer.photos.intake import shown_name
from trainer.recipe.choices import DEFAULT_CLASS_WORD, STARTER, Kind
from ui.errors import spoken
from ui.forms import class_word_for
from ui.listening import QUIET
from ui.services import Services
from ui.serving.uploads import release

log = logging.getLogger(__name__)
_TYPES = [".safetensors", ".pt", ".bin"]
_PREDICTIONS = [
    ("what its file or its base says", ""),
    ("v (v_prediction), 768 px", "v_prediction"),
    ("noise (epsilon), 512 px", "epsilon"),
]


class AddPanel:
    """Draws the panel; `added` fires when a concept was queued to be taken in."""

    def __init__(self, services: Services) -> None:
        self._services = services
        with gr.Accordion("Add a concept", open=False, elem_id="add-panel") as panel:
            gr.Markdown(
                "An embedding, a LoRA or a whole model that was made elsewhere, for Stable Diffusion 1.x, 2.x or XL. "
                "It is checked before it is opened, then tried out; after that it works like one trained here. "
                "Files may have up to 200 MB; larger ones come from the Hub."
            )
            self._draw_sources()
            self._draw_about()
            press = gr.Button("Add", variant="primary", elem_id="add")
        self.added = press.click(
            spoken(self._add),
            {
                *(self._file, self._hub, self._name),
                *(self._kind, self._class_word, self._base, self._prediction),
            },
            [self._file, self._hub, self._name],
            **QUIET,  # what shows that it runs would show an error there, too, and lie over the fields
            trigger_mode="once",
        )
        self._kind.input(class_word_for, [self._kind, self._class_word], self._class_word, **QUIET)
        self._file.upload(_name_for, [self._file, self._name], self._name, **QUIET)
        self._hub.blur(_name_for, [self._hub, self._name], self._name, **QUIET)
        panel.expand(spoken(self._find_own), None, self._own, **QUIET)
        self._own.input(_own_source, self._own, [self._hub, self._name], **QUIET)

    def _draw_sources(self) -> None:
        with gr.Row():
            self._file = gr.File(label="A file: .safetensors, .pt, .bin", file_types=_TYPES, elem_id="add-file")
            self._hub = gr.Textbox(
                label="or from the Hub",
                placeholder="owner/name",
                info="owner/name:FILE where it holds several",
                max_length=300,
                elem_id="add-hub",
            )
        self._own = gr.Radio(
            [],
            label="Published from this app by your account",
            info="name, kind and base are read from it",
            visible=False,
            elem_id="add-own",
        )

    def _draw_about(self) -> None:
        """What a file does not say of itself."""
        with gr.Row():
            self._name = gr.Textbox(
                label="Name",
                info="of a LoRA or a model: the word that it listens to",
                max_length=60,
                elem_id="add-name",
                min_width=160,
            )
            self._kind = gr.Dropdown(
                [kind.value for kind in Kind],
                value=Kind.object.value,
                label="It is a",
                filterable=False,
                min_width=120,
            )
            self._class_word = gr.Textbox(
                DEFAULT_CLASS_WORD[Kind.object], label="Class word", info="plain noun", max_length=60, min_width=140
            )
            self._base = gr.Dropdown(
                [("Demo model", STARTER), *((name.split("/")[1], name) for name in PINNED)],
                value=STARTER,
                label="Base model",
                info="the one that it was made on",
                allow_custom_value=True,
                elem_id="add-base",
                min_width=200,
            )
            self._prediction = gr.Dropdown(
                _PREDICTIONS,
                value="",
                label="It predicts",
                info="asked of a 2.x model that is one file",
                filterable=False,
                elem_id="add-prediction",
                min_width=200,
            )

    def _find_own(self, request: gr.Request) -> Any:
        """What the account of whoever asks has on the Hub, and not here."""
        owners, jobs = self._services.owners, self._services.jobs
        token = owners.token_of(request)
        if token is None and not owners.single:
            return gr.skip()
        publications = jobs.publishing.of_all(job.id for job in jobs.ended(owners.of(request)))
        here = {publication.repo_id for publication in publications.values()}
        try:
            found = [repo for repo in self._services.importer.publications(token) if repo not in here]
        except HubError as error:
            log.warning("publications: %s", error)
            return gr.skip()
        return gr.update(choices=found, value=None, visible=bool(found))

    def _wish(self, values: Mapping[Component, Any]) -> Wish:
        source = values[self._hub] or ""
        return Wish(
            source.strip(),
            _name_for(values[self._file] or source, values[self._name]),  # the field's may still be on its way
            values[self._kind] or "",
            values[self._class_word] or "",
            values[self._base] or STARTER,
            values[self._prediction] or None,
        )

    def _add(self, values: dict[Component, Any], request: gr.Request) -> tuple[None, str, str]:
        owner = self._services.owners.of(request)
        self._services.admit(request)
        wish, file = self._wish(values), values[self._file]
        self._services.owners.find_base(wish.base)
        if bool(file) == bool(wish.source):
            raise RequestError("Give a file, or a Hub id: one of the two.")
        importer, token = self._services.importer, self._services.owners.token_of(request)
        if file:
            path = Path(file)
            bringing = importer.judge_file(wish, path, shown_name=shown_name(path.name), token=token)
        else:
            gr.Info("The Hub is asked what it is.")
            bringing = importer.judge_hub(wish, token)
        if token is not None:
            self._services.tokens.hand_over_for_fetching(owner, token)
        self._services.jobs.submitting.submit_task(owner, bringing.task, bringing.file)
        if file:
            release([Path(file)])  # the run folder has its own copy
        gr.Info(f"{html.escape(bringing.task.origin)} is being taken in. The Jobs page says how far it is.")
        return None, "", ""


def _own_source(repo_id: str) -> tuple[str, str]:
    """One's own publication as the source, under its own name."""
    return repo_id, suggested_name(repo_id)


def _name_for(source: str | None, name: str | None) -> str:
    """A first suggestion; what a person typed stays."""
    return name or suggested_name((source or "").strip())
