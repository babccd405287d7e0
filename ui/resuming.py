"""Resume on the page and over HTTP: what is asked before a job is queued again."""

from __future__ import annotations

import gradio as gr

from ui.services import Services
from ui.train.remote import prepare_again


def resume(services: Services, job_id: str, owner: str, request: gr.Request, *, here: bool = False) -> None:
    """Queue a job again, here if it was sent away.

    Raises RequestError where this visitor may not, and HubError where the Hub does not let them send it once more.
    """
    remote = services.jobs.remote_for_certain(services.jobs.job(job_id, owner).id)
    if here or remote is None:
        services.admit(request)
        services.jobs.resume(job_id, owner, here=here)
    else:
        services.spending.check_open()  # its files are here all the same
        services.jobs.resume(job_id, owner, next_remote=prepare_again(services, remote, request))
