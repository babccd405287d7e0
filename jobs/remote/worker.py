"""The process that follows Jobs at Hugging Face: a supervisor of their queue, with a token vault of its own.

A vault of its own, and not the publisher's, because tokens never leave the process that they were handed to: so each
process that talks to the Hub is given them by the page, and a training that the Hub keeps waiting holds up no
publication.
"""

from __future__ import annotations

from jobs.hub.tokens import TRAINING_TOKENS, TokenVault, taking_tokens
from jobs.remote.trainer import RemoteTrainer
from jobs.supervisor.worker import Supervisor
from trainer.settings import Settings


def serve_remote(settings: Settings) -> None:
    """Follow Jobs until a stop is requested. Raises BusyError where another process does already.

    Without an image none can be started, but those that were are followed and ended.
    """
    vault = TokenVault(settings.own_hub_token)
    trainer = RemoteTrainer(settings, vault, settings.jobs_image)
    Supervisor(settings, trainer).serve(taking_tokens(vault, settings.runtime_dir, TRAINING_TOKENS))
