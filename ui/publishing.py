"""What the Train page and the Library share of publishing: where to, and with whose token."""

from __future__ import annotations

import gradio as gr

from jobs.hub.client import read_account
from jobs.publishing.publish import check_repo_id, settle_visibility
from trainer.errors import HubError, HubTrouble
from ui.services import Services


def prepare_publication(
    services: Services,
    repo: str,
    request: gr.Request,
    *,
    private: bool = True,
    typed_token: str = "",
    job_id: str = "",
) -> str:
    """Check name, scope and visibility, and give the publisher the token. Returns OWNER/NAME, by default the account's.

    A repository that this job's concept was published in becomes as private as asked; any other one stays as it is.
    Raises RequestError for a name that the Hub does not allow, HubError for a token that may not write there, or a
    repository that exists and is not as private as it should be.
    """
    token = typed_token.strip() or services.owners.token_of(request) or services.tokens.own
    if not token:
        way = "Sign in first." if services.owners.can_sign_in else "Give an access token that may write."
        raise HubError(way, HubTrouble.sign_in)
    repo = repo.strip()
    account = read_account(token)
    if "/" not in repo:
        repo = f"{account.name}/{repo}"
    account.check_may_write(check_repo_id(repo).split("/")[0])
    holds_it = services.jobs.publishing.is_at(job_id, repo)
    settle_visibility(repo, token, private=private, holds_it=holds_it)
    services.tokens.hand_over(services.owners.of(request), token)
    return repo
