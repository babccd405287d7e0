"""Everything that trains: family x method, one loop. Imports torch; runs in a process of its own."""

import importlib
import sys
from collections.abc import Generator
from contextlib import contextmanager

from trainer.loading import nothing_is_garbage


@contextmanager
def _as_if_missing(module: str) -> Generator[None]:
    """Whoever looks for a module meanwhile finds that it is not installed; later imports find it."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment] - Python's own sign for a module that is not to be found
    try:
        yield
    finally:
        del sys.modules[module]


# They would load it for quantized weights, which nothing here has, and every start would take seconds longer. What does
# use it, the 8-bit optimizer, loads it when a recipe asks.
with nothing_is_garbage(), _as_if_missing("bitsandbytes"):
    importlib.import_module("diffusers.utils")
    importlib.import_module("peft")
    importlib.import_module("peft.import_utils").is_bnb_available()  # is asked for each adapter, and remembers

for _library in ("transformers", "diffusers"):
    _logging = importlib.import_module(f"{_library}.utils.logging")
    _logging.set_verbosity_error()
    _logging.disable_progress_bar()
