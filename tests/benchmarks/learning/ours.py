"""Our side: `python -m trainer train`, as anybody starts it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from inference.catalog import open_concept
from tests.benchmarks.learning.exam import NAME
from tests.benchmarks.learning.painter import Learnt
from tests.benchmarks.learning.subjects import Subject
from tests.benchmarks.learning.training import Trained, TrainingFailed, run_timed
from trainer.bases import STARTER_FOLDER
from trainer.events import Measured, Warned, read_events
from trainer.recipe.choices import STARTER, Method
from trainer.run_folder import RunFolder

REWOUND = "became infinite"


def train_ours(
    subject: Subject, method: Method, seed: int, values: Mapping[str, Any], *, base: Path, place: Path
) -> Trained:
    """Train in `place`/run. Raises TrainingFailed."""
    recipe = {
        **values,
        "method": method.value,
        "name": NAME,
        "kind": subject.kind.value,
        "class_word": subject.class_word,
        "base": STARTER if base == STARTER_FOLDER else str(base),
        "seed": seed,
    }
    (place / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    run = place / "run"
    command = [sys.executable, "-m", "trainer", "train", "--photos", str(subject.train_folder)]
    command += ["--recipe", str(place / "recipe.yaml"), "--out", str(run)]
    seconds, cpu_seconds = run_timed(command, place, {"STUDIO_HOME": str(place / "home")})
    events = list(read_events(RunFolder(run).events_file))
    if any(isinstance(e, Warned) and REWOUND in e.text for e in events):
        raise TrainingFailed("the loss became infinite, and training went on at half the learning rate")
    concept = open_concept(run)
    (measured,) = [e for e in events if isinstance(e, Measured)]
    said = {"knows_subject": measured.knows_subject, "changed_elsewhere": measured.changed_elsewhere}
    learnt = Learnt(concept.folder, concept.manifest.words)
    return Trained(learnt, concept.manifest.steps, seconds, cpu_seconds, said)
