"""What the owner of this machine does with its jobs from a terminal."""

from __future__ import annotations

import argparse
import json
from typing import Any

from jobs.hub.client import read_account
from jobs.open import open_service
from jobs.publishing.publish import check_repo_id, publish, settle_visibility
from jobs.record.remote_run import Stage
from jobs.record.store import machines_owner
from jobs.remote.offer import RemoteOffer
from jobs.service import JobService, JobView
from jobs.submission.bringing_in import Importer, Wish
from jobs.submission.preflight import BaseChecker
from jobs.views.comparing import as_numbers, as_table
from trainer.artifact import read_manifest
from trainer.errors import EXIT_DONE, HubError, HubTrouble, RequestError
from trainer.imports.commands import add_import_options
from trainer.quantities import duration
from trainer.settings import Owners, Settings

_ACTIONS = {
    "cancel": (JobService.cancel, "cancel a waiting or running job"),
    "stop": (JobService.stop_and_keep, "stop a running job and keep what it learnt"),
    "delete": (JobService.delete, "remove an ended job and its files"),
}

_RESUMES = {"resume": "go on with a stopped, failed or cancelled job", "retry": "the same as resume"}


def add_commands(commands: Any) -> None:
    """Let a parser know them."""
    listing = commands.add_parser("list", help="all jobs, newest first")
    listing.add_argument("--json", action="store_true", help="one JSON object per line")
    listing.set_defaults(command=_list)
    show = commands.add_parser("show", help="one job")
    show.add_argument("job", metavar="ID")
    show.add_argument("--json", action="store_true", help="one JSON object")
    show.set_defaults(command=_show)
    publishing = commands.add_parser("publish", help="publish a finished job's concept to the Hub, or go on doing so")
    publishing.add_argument("job", metavar="ID")
    publishing.add_argument("--repo", metavar="OWNER/NAME", help="default: the token's owner and the concept's name")
    publishing.add_argument("--public", action="store_true", help="for everybody to see; default: private")
    publishing.set_defaults(command=_publish)
    bring = commands.add_parser("import", help="take in a concept that was made elsewhere")
    add_import_options(bring)
    bring.set_defaults(command=_import)
    extract = commands.add_parser("extract", help="a LoRA out of a finished job's full model, as a new job")
    extract.add_argument("job", metavar="ID")
    extract.add_argument("--rank", type=int, default=16)
    extract.set_defaults(command=_extract)
    compare = commands.add_parser("compare", help="two jobs side by side")
    compare.add_argument("job", metavar="ID")
    compare.add_argument("other", metavar="OTHER", nargs="?", help="default: the job that was queued together with it")
    compare.add_argument("--json", action="store_true", help="one JSON object")
    compare.set_defaults(command=_compare)
    for name, help_text in _RESUMES.items():
        resume = commands.add_parser(name, help=help_text)
        resume.add_argument("job", metavar="ID")
        resume.set_defaults(command=_resume)
    for name, (_, help_text) in _ACTIONS.items():
        action = commands.add_parser(name, help=help_text)
        action.add_argument("job", metavar="ID")
        action.set_defaults(command=_act, action=name)


def _list(options: argparse.Namespace) -> int:
    for view in open_service(options.settings).everybodys_views():
        print(json.dumps(view.as_dict()) if options.json else _line(view))
    return EXIT_DONE


def _show(options: argparse.Namespace) -> int:
    service = open_service(options.settings)
    view = service.view(options.job, service.owner_of(options.job))
    if options.json:
        print(json.dumps(view.as_dict()))
        return EXIT_DONE
    print(_line(view))
    for warning in view.progress.warnings:
        print(f"  Note: {warning}")
    print(f"  Files: {service.run_folder(view.job.id).root}")
    return EXIT_DONE


def _publish(options: argparse.Namespace) -> int:
    settings: Settings = options.settings
    service = open_service(settings)
    run = service.run_folder(service.job(options.job, service.owner_of(options.job)).id)
    token = settings.machine_token
    if token is None:
        raise HubError("Set HF_TOKEN to a token that may write.", HubTrouble.sign_in)
    repo_id = check_repo_id(options.repo or f"{read_account(token).name}/{read_manifest(run.artifact).name}")
    private = not options.public
    settle_visibility(repo_id, token, private=private, holds_it=service.publishing.is_at(options.job, repo_id))
    published = publish(run, repo_id, token, private=private)
    service.publishing.record(options.job, repo_id, published, private=private)
    print(f"{published.url} holds the concept, confirmed at commit {published.commit}")
    return EXIT_DONE


def _import(options: argparse.Namespace) -> int:
    settings: Settings = options.settings
    token = settings.machine_token
    said = (options.name, options.kind, options.class_word, options.base, options.base_prediction)
    wish = Wish(options.source, *said)
    bringing = Importer(BaseChecker(token), token).judge_source(wish)
    owner = machines_owner(single=settings.owner_mode is Owners.single)
    job = open_service(settings).submitting.submit_task(owner, bringing.task, bringing.file)
    print(f"{job.id} is queued: {job.name}, to be imported from {bringing.task.origin}")
    return EXIT_DONE


def _extract(options: argparse.Namespace) -> int:
    service = open_service(options.settings)
    job = service.extract(options.job, service.owner_of(options.job), options.rank)
    print(f"{job.id} is queued: a LoRA of rank {options.rank} out of {job.name}")
    return EXIT_DONE


def _compare(options: argparse.Namespace) -> int:
    service = open_service(options.settings)
    owner = service.owner_of(options.job)
    other = options.other or service.compared_with(options.job, owner)
    if other is None:
        raise RequestError("This job was queued alone; name the one to compare it with.")
    compared = service.compare(options.job, other, owner)
    print(json.dumps(as_numbers(compared)) if options.json else as_table(compared))
    return EXIT_DONE


def _act(options: argparse.Namespace) -> int:
    service = open_service(options.settings)
    action, _ = _ACTIONS[options.action]
    action(service, options.job, service.owner_of(options.job))
    return EXIT_DONE


def _resume(options: argparse.Namespace) -> int:
    service = open_service(options.settings)
    remote = service.remote_for_certain(options.job)
    following = None
    if remote is not None and remote.stage is not Stage.sent:  # else its Job may still run, and is only followed
        following = RemoteOffer(options.settings).requoted(remote)
    service.resume(options.job, service.owner_of(options.job), next_remote=following)
    return EXIT_DONE


def _line(view: JobView) -> str:
    job, progress = view.job, view.progress
    steps = [f"step {progress.step} of {job.steps}"] if job.steps else []  # what is brought in has none
    left = [f"{duration(progress.eta_s)} left"] if progress.eta_s is not None and job.is_open else []
    place = [f"{view.place} in line"] if view.place else []
    so_far = ", ".join([*steps, *left, *place])
    about = [f"{job.title} ({job.method})", so_far, job.message]
    return "  ".join([job.id, f"{job.state.value:9}", f"{view.where:17}", *filter(None, about)])
