"""Everything that trains: family x method, one loop. Imports torch; runs in a process of its own."""

import importlib
import sys


def _import_without(unwanted: str, libraries: list[str]) -> None:
    """Import libraries as if a module that they look for were not installed; later imports find it."""
    if unwanted in sys.modules:
        return
    sys.modules[unwanted] = None  # type: ignore[assignment] - Python's own sign for a module that is not to be found
    try:
        for library in libraries:
            importlib.import_module(library)
    finally:
        del sys.modules[unwanted]


# They would load it for quantized weights, which nothing here has, and every start would take a second longer. What
# does use it, the 8-bit optimizer, loads it when a recipe asks.
_import_without("bitsandbytes", ["diffusers.utils", "peft"])

for _library in ("transformers", "diffusers"):
    _logging = importlib.import_module(f"{_library}.utils.logging")
    _logging.set_verbosity_error()
    _logging.disable_progress_bar()
