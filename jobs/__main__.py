"""`python -m jobs`: the processes of the app, and the jobs of this machine for its owner."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from typing import Any

from jobs.processes import PROCESSES, SERVED, run_as_job, serve, serve_device
from trainer.errors import EXIT_STOPPED, StudioError
from trainer.one_line_parser import OneLineParser
from trainer.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _options(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # who follows Jobs asks every few seconds
    try:
        options.settings = Settings()
        options.settings.check_home()
        return options.command(options)
    except StudioError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return EXIT_STOPPED


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = OneLineParser(prog="python -m jobs", description="Training jobs of this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    if not words or words[0] not in PROCESSES:
        from jobs.commands import add_commands  # noqa: PLC0415 - no process waits for what only people's commands need

        add_commands(commands)
    _add_processes(commands)
    return parser.parse_args(words)


def _add_processes(commands: Any) -> None:
    worker = commands.add_parser("worker", help="serve one device")
    worker.add_argument("--gpu", type=int, metavar="N", help="number of the GPU; default: the first, or the CPU")
    worker.set_defaults(command=serve_device)
    served = {name: commands.add_parser(name, help=help_text) for name, (help_text, _) in SERVED.items()}
    for name, process in served.items():
        process.set_defaults(command=serve, process=name)
    for process in (worker, *served.values()):
        process.add_argument("--watch-parent", action="store_true", help="stop when standard input ends")
    inside = commands.add_parser("remote-run", help="what a Job at Hugging Face runs")
    inside.set_defaults(command=run_as_job)


if __name__ == "__main__":
    if set(sys.argv[1:2]).isdisjoint(PROCESSES):  # what ends a service means the same as Ctrl-C; processes see to it
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
