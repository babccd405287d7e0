"""`python -m tests.benchmarks.learning.run_script SCRIPT ARGUMENTS`: runs a script that imports torchvision without it.

The libraries are asked first, and find that torchvision is not here; then a stand-in with the few transforms that the
script uses takes its name.
"""

from __future__ import annotations

import runpy
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import accelerate  # noqa: F401 - asks for torchvision before the stand-in is in place, as the next two do
import diffusers.training_utils  # noqa: F401
import transformers  # noqa: F401
from transformers.utils.import_utils import is_torchvision_available, is_torchvision_v2_available

from tests.benchmarks.learning import torchvision_stand_in


def main() -> None:
    for ask in (is_torchvision_available, is_torchvision_v2_available):
        ask()  # and both remember their answer
    package = types.ModuleType("torchvision")
    package.__spec__ = ModuleSpec("torchvision", None)
    package.transforms = torchvision_stand_in  # type: ignore[attr-defined]
    sys.modules |= {"torchvision": package, "torchvision.transforms": torchvision_stand_in}
    script = Path(sys.argv[1])
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
