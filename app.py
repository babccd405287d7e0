"""Concept Studio: starts the page and every other process, and keeps them alive. What a Space runs."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from inference.client import GeneratorClient
from inference.drawings import ON_A_SHARED_CPU, ON_A_SHARED_GPU, Drawings
from jobs.children import Children
from jobs.example import submit_example
from jobs.hub.tokens import TokenDesk
from jobs.mirror.keeping import Keeping
from jobs.mirror.restore import restore_from_mirror
from jobs.money.admission import Admission
from jobs.money.spending import Spending
from jobs.one_page import OnePage
from jobs.open import open_service
from jobs.queueing.executors import gone_executors
from jobs.record.store import SINGLE_OWNER, machines_owner
from jobs.remote.offer import RemoteOffer
from jobs.submission.bringing_in import Importer
from jobs.submission.drafts import Drafts
from jobs.submission.intake import Intake
from jobs.submission.preflight import BaseChecker
from trainer.bases import ASSETS
from trainer.child_environment import tell_libraries
from trainer.errors import RequestError, StudioError
from trainer.machine.devices import Device, find_devices
from trainer.machine.process import StopSignal
from trainer.settings import Settings
from ui.layout import build_page
from ui.owners import OwnerPolicy
from ui.pictures import PictureHistory
from ui.services import Services
from ui.serving.request_limits import fetch_no_files
from ui.serving.upload_form import take_files_alone
from ui.serving.uploads import keep_uploads_in, remove_forgotten
from ui.serving.web import build_middleware
from ui.theme import build_theme

if TYPE_CHECKING:
    import gradio as gr  # the page's package imports it, in its own way

log = logging.getLogger(__name__)
_TIDY_EVERY_S = 3600.0
_QUEUE_EVERY_S = 60.0
_QUEUE_LOOKS_EVERY_S = 0.02  # gradio's millisecond takes 5 % of a core from the training while nobody is there
_MONITORING = {"GRADIO_ANALYTICS_CACHE_FREQUENCY": str(2**62), "GRADIO_ANALYTICS_MAX_EVENTS": "1"}
"""Gradio would make a table of its last 10,000 events after each, which takes up to 20 ms: of those a page looks with,
too."""
_SESSIONS = 500  # of 0.4 MB each; gradio would keep the first 10,000, open or not
_THREADS = 120  # gradio's 40 could be used up by programs that wait for pictures: each waits in a thread


def build_services(settings: Settings, devices: list[Device]) -> Services:
    """Everything that the page works with, over the data root of the settings."""
    training = devices if settings.train_here else []
    owners = OwnerPolicy(settings)
    bases = BaseChecker(settings.own_hub_token, shared=not owners.single)
    spending = Spending(settings, has_gpu=devices[0].index is not None)
    drafts = Drafts(settings.home / "drafts")
    generator = GeneratorClient(settings.runtime_dir)
    limits = None if owners.single else ON_A_SHARED_CPU if devices[0].index is None else ON_A_SHARED_GPU
    return Services(
        jobs=open_service(settings, own=training),
        drafts=drafts,
        intake=Intake(drafts),
        drawings=Drawings(generator, limits),
        pictures=PictureHistory(settings.home / "pictures"),
        tokens=TokenDesk(settings.runtime_dir, settings.own_hub_token, [device.key for device in training]),
        bases=bases,
        importer=Importer(bases, settings.own_hub_token),
        owners=owners,
        keeping=Keeping(settings),
        spending=spending,
        admission=Admission(settings, spending),
        runtime_dir=settings.runtime_dir,
        remote=RemoteOffer(settings) if settings.can_run_jobs else None,
    )


def launch_page(page: gr.Blocks, services: Services, settings: Settings) -> None:
    """Serve the page from a thread of its own and return. Raises RequestError where its address cannot be had."""
    take_files_alone()
    fetch_no_files()
    for what, most in _MONITORING.items():
        tell_libraries(what, most)
    page.queue(max_size=200, default_concurrency_limit=16, api_open=False)  # nobody passes by its limits
    page._queue.sleep_when_free = _QUEUE_LOOKS_EVERY_S  # noqa: SLF001 - gradio offers no other way
    try:
        page.launch(
            prevent_thread_lock=True,
            server_name=None if settings.on_space else settings.host,
            server_port=None if settings.on_space else settings.port,
            theme=build_theme(),
            css_paths=[ASSETS / "app.css"],
            app_kwargs={"middleware": build_middleware(services, settings)},
            footer_links=[],
            run_history=False,
            max_threads=_THREADS,
            max_file_size="200mb",
            state_session_capacity=_SESSIONS,
            show_error=False,  # what is not ours to say: it may name folders of this machine
            quiet=True,
            enable_monitoring=False,
            ssr_mode=False,
        )
    except OSError as error:
        raise RequestError(
            f"The page cannot be served on port {settings.port} of {settings.host or '127.0.0.1'}: another program has "
            "it, or it is not an address of this machine. Set GRADIO_SERVER_PORT or GRADIO_SERVER_NAME."
        ) from error


def prepare_home(settings: Settings, services: Services, devices: list[Device], stop: StopSignal) -> None:
    """Bring the data root up to date: jobs that only the mirror or files know, old drafts, the first example.

    What cannot be done, as on a full disk, keeps nobody from the page: there they can delete what fills it.
    """
    with _going_on("restoring jobs from the mirror"):
        if restored := restore_from_mirror(settings, services.keeping, stop.requested):
            log.info("%d jobs came back from the mirror", restored)
    first_time = not settings.runs_dir.exists()
    with _going_on("restoring jobs from their files"):
        settings.runs_dir.mkdir(parents=True, exist_ok=True)
        if restored := services.jobs.rebuild():
            log.info("%d jobs were restored from their files", restored)
    with _going_on("removing old drafts and pictures"):
        services.drafts.remove_old()
        if not services.owners.single:
            services.pictures.remove_old()
    if services.owners.single:
        with _going_on("giving everything to the one owner"):
            services.adopt_everything(SINGLE_OWNER)
    if first_time and settings.example and settings.train_here and devices[0].index is None:
        with _going_on("queueing the example"):
            submit_example(services.jobs, machines_owner(single=services.owners.single))


@contextlib.contextmanager
def _going_on(step: str) -> Generator[None]:
    """Log what a step of the start fails with, and go on with the next."""
    try:
        yield
    except Exception as error:
        log.warning("%s: %s", step, error, exc_info=None if isinstance(error, StudioError) else error)


def _any_remote(services: Services) -> bool:
    with _going_on("looking for jobs at Hugging Face"):
        return services.jobs.any_remote()
    return True  # rather a process without work than a Job that nobody follows


def look_after(children: Children, services: Services, uploads: Path, one_page: OnePage, stop: StopSignal) -> None:
    """Until told to stop: keep the children alive, the queue whole, and no photos that nobody trained within a day."""
    tidied, queued = time.monotonic(), -math.inf
    served = {device.key for device in services.jobs.fleet.own}
    others = services.jobs.fleet.roll_call()
    while not stop.requested():
        children.revive()
        try:
            if time.monotonic() - tidied >= _TIDY_EVERY_S:
                tidied = time.monotonic()
                services.drafts.remove_old()
                remove_forgotten(uploads)
                if not services.owners.single:
                    services.pictures.remove_old()
            if time.monotonic() - queued >= _QUEUE_EVERY_S:
                queued = time.monotonic()
                if not one_page.hold():
                    log.error("another page serves this database since its connection was lost: stop one of the two")
                gone = gone_executors(services.runtime_dir, served)
                services.jobs.queue.add_missing([*gone, *others.gone()])
        except Exception:  # a disk or database that is away for a moment must not end the page
            log.exception("tidying")
        time.sleep(0.5)


def main() -> int:
    """Serve until told to stop; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = Settings()
        settings.check_home()
        keep_uploads_in(settings.uploads_dir)
        devices = find_devices(settings.visible_gpus)
        services = build_services(settings, devices)
        one_page = OnePage(settings)
        stop = StopSignal()
        stop.install()
        page = build_page(services)
        launch_page(page, services, settings)
    except StudioError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"Concept Studio is at {page.local_url}", flush=True)
    prepare_home(settings, services, devices, stop)
    with Children(settings, devices, any_remote=_any_remote(services)) as children:
        look_after(children, services, settings.uploads_dir, one_page, stop)
    page.close(verbose=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
