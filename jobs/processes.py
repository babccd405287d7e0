"""The processes that app.py keeps alive, and what a Job at Hugging Face runs.

They start together, on few cores: so each imports what it needs itself only once it is the one that is asked for.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from trainer.errors import EXIT_DONE, RequestError
from trainer.machine.devices import Device, find_devices
from trainer.machine.process import stop_when_parent_dies
from trainer.settings import Settings

if TYPE_CHECKING:
    from jobs.hub.tokens import TokenVault
    from jobs.supervisor.local import LocalTrainer


def serve_device(options: argparse.Namespace) -> int:
    """Be the supervisor of one device: `options.gpu`, or the first that there is."""
    from jobs.hub.tokens import TokenVault
    from jobs.supervisor.local import LocalTrainer
    from jobs.supervisor.worker import Supervisor

    if options.watch_parent:
        stop_when_parent_dies()
    devices = find_devices(options.settings.visible_gpus)
    if options.gpu is None:
        device = devices[0]
    else:
        device = next((d for d in devices if d.index == options.gpu), None)
        if device is None:
            raise RequestError(f"This machine has no GPU {options.gpu}; it has {', '.join(d.name for d in devices)}.")
    settings: Settings = options.settings
    vault = TokenVault(settings.own_hub_token)
    trainer = LocalTrainer(settings, device, vault)
    # of its own page's in SQLite nobody else wants to know, and the disk of a machine with nothing to do may rest
    told = not (options.watch_parent and settings.on_sqlite)
    Supervisor(settings, trainer).serve(_made_ready(trainer, vault, settings, device if told else None))
    return EXIT_DONE


@contextmanager
def _made_ready(trainer: LocalTrainer, vault: TokenVault, settings: Settings, told: Device | None) -> Generator[None]:
    """What a supervisor does once it is certain that it is the only one; it gives signs of life of a `told` device."""
    from jobs.hub.tokens import fetching_tokens, taking_tokens
    from jobs.supervisor.heartbeat import heartbeat

    with taking_tokens(vault, settings.runtime_dir, fetching_tokens(trainer.key)):
        trainer.check_device()
        with heartbeat(settings, trainer, told) if told is not None else nullcontext():
            yield


def serve(options: argparse.Namespace) -> int:
    """Be the process of `SERVED` that is named."""
    if options.watch_parent:
        stop_when_parent_dies()
    _, start = SERVED[options.process]
    start(options.settings)
    return EXIT_DONE


def _publisher(settings: Settings) -> None:
    from jobs.publishing.publisher import Publisher

    Publisher(settings).serve()


def _mirror(settings: Settings) -> None:
    from jobs.mirror.mirroring import Mirroring

    if settings.mirror_dir is None:
        raise RequestError("There is no mirror: set STUDIO_MIRROR to a folder that outlives this machine's disk.")
    Mirroring(settings, settings.mirror_dir).serve()


def _treasurer(settings: Settings) -> None:
    from jobs.money.treasurer import Treasurer

    Treasurer(settings).serve()


def _remote(settings: Settings) -> None:
    from jobs.remote.worker import serve_remote

    serve_remote(settings)


SERVED = {
    "publisher": ("publish what waits to be published", _publisher),
    "mirror": ("copy jobs and results to STUDIO_MIRROR as they change", _mirror),
    "treasurer": ("watch what this Space costs", _treasurer),
    "remote": ("send what waits for it to Hugging Face, and follow it there", _remote),
}
PROCESSES = ("worker", *SERVED, "remote-run")


def run_as_job(options: argparse.Namespace) -> int:
    """Train what a Job at Hugging Face was started for."""
    from jobs.remote.container import run_here

    return run_here(options.settings)
