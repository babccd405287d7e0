"""`python -m tests.benchmarks [start] [example] [subjects] [gpu] [readme]`: measures, and prints rows for RESULTS.md.

Without arguments it measures what every machine can: the start of the page, the
embedded example and every method. `readme` draws the
README's pictures again.
"""

from __future__ import annotations

import argparse
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch

from tests.benchmarks.durations import measure_example, measure_methods, measure_start
from tests.benchmarks.full_size import measure_full_size
from tests.benchmarks.likeness import FORMS, measure_subjects
from tests.benchmarks.readme_pictures import draw_readme_pictures
from trainer.engine.versions import library_versions
from trainer.machine.devices import usable_cores
from trainer.recipe.choices import Method


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("what", nargs="*", default=["start", "example"], metavar="start|example|subjects|gpu|readme")
    parser.add_argument("--photos", type=Path, help="for subjects: a folder of one folder of photos for each subject")
    parser.add_argument("--forms", nargs="*", default=list(FORMS), help=f"for subjects: some of {', '.join(FORMS)}")
    parser.add_argument("--methods", nargs="*", default=[m.value for m in Method])
    parser.add_argument("--names", nargs="*", help="for subjects: train these alone; by default all in the folder")
    options = parser.parse_args()
    print(f"{_machine()}, {datetime.now(UTC):%Y-%m-%d}")
    print(", ".join(f"{name} {version}" for name, version in library_versions().items()))
    for what in options.what:
        match what:
            case "start":
                measure_start()
            case "example":
                measure_example()
                measure_methods(options.methods)
            case "subjects":
                measure_subjects(options.photos, options.forms, options.methods, options.names)
            case "gpu":
                measure_full_size()
            case "readme":
                draw_readme_pictures()
            case _:
                parser.error(f"there is no benchmark {what!r}")


def _machine() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{usable_cores()} cores of {_cpu_name()}"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
