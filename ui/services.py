"""What the tabs call. Built once by app.py; a tab never builds a service or reads the environment itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from inference.drawings import Drawings
from jobs.hub.tokens import TokenDesk
from jobs.mirror.keeping import Keeping
from jobs.money.admission import Admission
from jobs.money.spending import Spending
from jobs.record.store import EVERYBODY
from jobs.remote.offer import RemoteOffer
from jobs.service import JobService
from jobs.submission.bringing_in import Importer
from jobs.submission.drafts import Drafts
from jobs.submission.intake import Intake
from jobs.submission.preflight import BaseChecker
from jobs.supervisor.gpu_watch import gpu_trouble
from trainer.bases import BaseReference, BaseTraits
from trainer.errors import Problem, RecipeError
from trainer.machine.devices import APPLE_GPU
from trainer.recipe.choices import FP16_ON_CPU, Precision
from trainer.recipe.config import TrainConfig
from trainer.single_file_base import inspect_local
from ui.owners import OwnerPolicy
from ui.pictures import PictureHistory


@dataclass(frozen=True)
class Services:
    """Everything that the page works with."""

    jobs: JobService
    drafts: Drafts
    intake: Intake
    drawings: Drawings
    pictures: PictureHistory
    tokens: TokenDesk
    bases: BaseChecker
    importer: Importer
    owners: OwnerPolicy
    keeping: Keeping
    spending: Spending
    admission: Admission
    runtime_dir: Path
    remote: RemoteOffer | None = None
    """Training at Hugging Face, where it can be offered."""

    def adopt(self, browser: str, person: str) -> None:
        """Give what a browser's owner has to the person who signed in there."""
        self.jobs.adopt(browser, person)
        self.drafts.adopt(browser, person)
        self.drawings.adopt(browser, person, self.pictures.folder(person))
        self.pictures.adopt(browser, person)

    def adopt_everything(self, owner: str) -> None:
        """Give one owner what all others have, but for what is everybody's: where there is only one, it is theirs."""
        everybody = self.jobs.owners() | self.drafts.owners() | self.pictures.owners()
        for other in everybody - {owner, EVERYBODY}:
            self.adopt(other, owner)

    def admit(self, request: gr.Request) -> None:
        """Raise RequestError where this visitor may queue nothing here, or nobody may.

        The machine's owner pays for it, or its hardware is being given back.
        """
        self.admission.check(self.owners.name_of(request), self.owners.token_of(request))
        self.spending.check_open()

    def traits_of(self, base: BaseReference, hub_token: str | None = None) -> BaseTraits:
        """What a base is; `hub_token` is that of whoever asks. Raises BaseModelError for one that cannot be used."""
        return self.bases.check(base, hub_token).traits if base.on_hub else inspect_local(base)

    @property
    def device_words(self) -> str:
        """What takes jobs now; no words where no machine does."""
        names = Counter(name for name, _ in self.jobs.fleet.devices())
        return ", ".join(f"{count} × {name}" if count > 1 else name for name, count in names.items())

    @property
    def only_cpu(self) -> bool:
        """Whether what takes jobs now is no GPU."""
        devices = self.jobs.fleet.devices()
        return bool(devices) and not any(is_gpu for _, is_gpu in devices)

    def check_precision(self, recipe: TrainConfig) -> None:
        """Raise RecipeError for arithmetic that this machine's only device cannot train in."""
        on_cpu = self.jobs.fleet.is_alone and self.only_cpu and APPLE_GPU not in self.device_words
        if on_cpu and recipe.precision is Precision.fp16:
            raise RecipeError([Problem("precision", FP16_ON_CPU)])

    def device_trouble(self) -> list[str]:
        """Why devices of this machine cannot be used now, in words."""
        return gpu_trouble(self.runtime_dir, self.jobs.fleet.own)
