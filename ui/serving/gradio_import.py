"""Imports gradio in half of the time that it takes by itself."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

from trainer.loading import nothing_is_garbage

_MODULE, _FUNCTION = "gradio.component_meta", "create_or_modify_pyi"


def import_gradio() -> None:
    """Import it without the type stubs of its components, which it writes into its own folder at every start.

    Nobody reads them here, and reading every component's source for them is what half of the import's time goes into.
    """
    finder = _WithoutStubs()
    sys.meta_path.insert(0, finder)
    try:
        with nothing_is_garbage():
            importlib.import_module("gradio")
    finally:
        sys.meta_path.remove(finder)
    _without_stubs(sys.modules[_MODULE])  # somebody may have imported it before: a class of ours gets no stub either


class _WithoutStubs(MetaPathFinder):
    """Finds one module as everybody does, and makes one of its functions do nothing."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _without_stubs(module)


def _without_stubs(module: ModuleType) -> None:
    setattr(module, _FUNCTION, lambda *_: None)
