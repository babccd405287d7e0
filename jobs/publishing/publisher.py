"""The publisher: a process that brings finished concepts to the Hub; it holds people's tokens, in memory alone.

It is no part of a supervisor, because a publication needs no device, and because a supervisor that a training job takes
down with it would lose the tokens. What it does is written in the table; after a kill it does the same again.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError

from jobs.hub import back_off
from jobs.hub.client import redacted
from jobs.hub.tokens import PUBLISHING_TOKENS, TokenVault, taking_tokens
from jobs.publishing.photo_keeping import remove_published_photos
from jobs.publishing.publish import publish
from jobs.record.publications import Publication, PublicationState, PublicationStore
from jobs.record.store import JobStore, now, open_engine
from trainer.errors import HubError, HubTrouble, StudioError
from trainer.machine.locks import hold_lock
from trainer.machine.process import StopSignal
from trainer.run_folder import RunFolder
from trainer.settings import Settings

log = logging.getLogger(__name__)
_AT_ONCE = 3
_POLL_S = 0.5
_WRITE_AGAIN_S = 15.0
_PHOTOS_S = 3600.0
"""How often it is looked whether photos have been kept long enough."""
_WAITS_S = (15, 60, 300, 900, 1800)
"""Before the next try, by how many there were; the last one for all further tries."""


class Publisher:
    """Serves one data root until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = StopSignal()
        engine = open_engine(settings.jobs_database_url, wait_until=self._stop.requested)
        self._jobs, self._publications = JobStore(engine), PublicationStore(engine)
        self._vault = TokenVault(settings.own_hub_token)

    def serve(self) -> None:
        """Run until a stop is requested. Raises BusyError where another publisher serves the data root."""
        self._stop.install()
        runtime = self._settings.runtime_dir
        runtime.mkdir(parents=True, exist_ok=True)
        pool = ThreadPoolExecutor(_AT_ONCE, "publish")
        with (
            hold_lock(runtime / "publisher.lock", what="Publishing"),
            taking_tokens(self._vault, runtime, PUBLISHING_TOKENS),
        ):
            self._release_claims()
            self._go_on_with_own_token()
            running: set[Future[None]] = set()
            next_look = 0.0
            while not self._stop.requested():
                running = {future for future in running if not future.done()}
                try:
                    if time.monotonic() >= next_look:
                        next_look = time.monotonic() + _PHOTOS_S
                        self._remove_old_photos()
                    for job_id in self._due()[: _AT_ONCE - len(running)]:
                        if (publication := self._publications.claim(job_id)) is not None:
                            running.add(pool.submit(self._attempt, publication))
                except (OSError, SQLAlchemyError):  # a full disk, a lost database: the tokens would go with the process
                    log.exception("looking for what is to be published")
                time.sleep(_POLL_S)
        os._exit(0)  # an upload in work would be waited for; the next start does it again

    def _remove_old_photos(self) -> None:
        count = remove_published_photos(self._jobs, self._publications, self._settings.runs_dir, now())
        if count:
            log.info("the photos of %d jobs were removed, a week after their publication", count)

    def _release_claims(self) -> None:
        """What a killed publisher had in work waits again."""
        for publication in self._publications.in_state(PublicationState.running):
            self._wait_again(publication)

    def _go_on_with_own_token(self) -> None:
        """What waited for a token: this start may have brought one."""
        for publication in self._publications.in_state(PublicationState.needs_sign_in):
            job = self._jobs.find(publication.job_id)
            if job is not None and self._vault.of(job.owner) is not None:
                self._wait_again(publication)

    def _wait_again(self, publication: Publication) -> None:
        self._publications.change(publication.job_id, PublicationState.waiting, out_of=[publication.state])

    def _due(self) -> list[str]:
        """Jobs to publish, which have left a concept; one that was cancelled or failed may be resumed."""
        return [job_id for job_id in self._publications.due(now()) if self._has_concept(job_id)]

    def _has_concept(self, job_id: str) -> bool:
        return RunFolder(self._settings.runs_dir / job_id).has_result

    def _attempt(self, publication: Publication) -> None:
        """One try; whatever comes of it is written down as soon as that is possible, and nothing is raised."""
        while True:
            try:
                return self._try_once(publication)
            except (OSError, SQLAlchemyError):
                log.exception("writing down what became of %s", publication.job_id)
                time.sleep(_WRITE_AGAIN_S)

    def _try_once(self, publication: Publication) -> None:
        job = self._jobs.find(publication.job_id)
        if job is None:
            self._publications.delete(publication.job_id)
            return
        token = self._vault.of(job.owner)
        try:
            done = publish(self._run(publication), publication.repo_id, token, private=publication.private)
        except HubError as error:
            if error.trouble is HubTrouble.sign_in:
                self._vault.forget(job.owner, token)
            self._put(after_trouble(publication, error, can_sign_in=self._settings.can_sign_in))
        except StudioError as error:
            self._put(replace(publication, state=PublicationState.failed, note=str(error)))
        except Exception as error:
            log.exception("publishing %s", publication.job_id)
            note = f"Publishing failed: {redacted(str(error))}"
            self._put(replace(publication, state=PublicationState.failed, note=note))
        else:
            state = PublicationState.published
            self._put(replace(publication, state=state, note="", url=done.url, commit=done.commit, tries=0))

    def _run(self, publication: Publication) -> RunFolder:
        return RunFolder(self._settings.runs_dir / publication.job_id)

    def _put(self, publication: Publication) -> None:
        """Write it down, unless its job was deleted meanwhile. Raises OSError where only the folder is away."""
        run = self._run(publication)
        if run.root.is_dir():
            self._publications.put(publication, run)
        elif self._jobs.find(publication.job_id) is not None:
            raise FileNotFoundError(errno.ENOENT, "The folder of a job is away", str(run.root))


def after_trouble(publication: Publication, error: HubError, *, can_sign_in: bool) -> Publication:
    """What becomes of a publication that the Hub did not take."""
    trained = "Trained and verified."
    match error.trouble:
        case HubTrouble.sign_in:
            way = "Sign in again to publish." if can_sign_in else "Publish it again with a token that may write."
            return replace(publication, state=PublicationState.needs_sign_in, note=f"{trained} {way}")
        case HubTrouble.later:
            wait_s = back_off.wait_s(_WAITS_S, publication.tries, error)
            return replace(
                publication,
                state=PublicationState.waiting,
                note=f"{trained} {back_off.told(error, wait_s)}",
                next_try=now() + wait_s,
                tries=publication.tries + 1,
            )
        case _:
            return replace(publication, state=PublicationState.failed, note=f"{trained} {error}")
