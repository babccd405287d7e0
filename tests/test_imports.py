"""The import rules of the house, read from the syntax of every module."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

OURS = {"app", "ui", "jobs", "inference", "trainer"}
TORCH = {
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "peft",
    "xformers",
    "bitsandbytes",
    "compel",
    "safetensors",
}

CONTRACT = {"trainer", "trainer.hub_cache", "trainer.imports", "trainer.machine", "trainer.photos", "trainer.recipe"}
"""Light: whoever wants may import it."""

# package -> (packages of ours that it may import, third-party packages that have their home elsewhere)
RULES: dict[str, tuple[set[str], set[str]]] = {
    "app": ({"ui", "jobs", "inference", *CONTRACT}, {"gradio", "starlette"}),
    "ui": ({"ui", "jobs", "inference", *CONTRACT}, {"gradio", "starlette", "jinja2", "markupsafe"}),
    "jobs": ({"jobs", *CONTRACT}, {"dbos", "sqlalchemy", "yaml", "huggingface_hub", "httpx2"}),
    "inference": ({"inference", *CONTRACT}, {"PIL"}),
    "inference.engine": (
        {"inference", "inference.engine", *CONTRACT, "trainer.engine"},
        {"torch", "compel", "diffusers", "PIL"},
    ),
    "trainer": (CONTRACT, {"yaml", "pydantic_settings", "annotated_types"}),
    "trainer.hub_cache": ({"trainer"}, {"huggingface_hub"}),
    "trainer.photos": ({"trainer", "trainer.photos"}, {"PIL", "pillow_heif", "numpy", "cv2"}),
    "trainer.recipe": ({"trainer", "trainer.recipe"}, {"yaml"}),
    "trainer.machine": ({"trainer", "trainer.machine"}, set()),
    "trainer.imports": ({"trainer", "trainer.imports", "trainer.photos", "trainer.recipe"}, set()),
    "trainer.engine": (CONTRACT | {"trainer.engine"}, TORCH | {"PIL", "numpy", "huggingface_hub", "httpx2"}),
    "trainer.starter": (
        CONTRACT | {"trainer.engine", "trainer.starter"},
        TORCH | {"PIL", "numpy", "cv2", "yaml", "resvg_py", "tokenizers"},
    ),
}
# a module whose imports follow another package's rule
HOMES = dict.fromkeys(
    (
        "inference.engine",
        "inference.failures",
        "inference.generator",
        "inference.picture_server",
        "inference.prompting",
    ),
    "inference.engine",
)
# processes of their own, which need PyTorch and nothing else of the engine
HOMES |= dict.fromkeys(("trainer.imports.unpickle", "trainer.machine.gpu_check"), "trainer.engine")
JOBS_LAYERS = (
    *("record", "runs", "hub", "queueing", "publishing", "mirror", "supervisor", "remote", "money"),
    *("submission", "views"),
)
"""From the bottom up; modules of `jobs` that are in none of them stand above all."""
LOADS_LATER = {"trainer.run_in_engine"}
"""Part of a `__main__`."""
COMMON = {"pydantic", "__future__", "typing_extensions"}
ONLY_HERE = {
    "dbos": {"jobs.queueing.queue"},
    "gradio": {"app", "ui"},
    "os.environ": {"trainer.settings", "trainer.child_environment", "trainer"},
}


def modules() -> list[tuple[str, Path]]:
    files = [ROOT / "app.py", *(f for p in ("ui", "jobs", "inference", "trainer") for f in (ROOT / p).rglob("*.py"))]
    return [(".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), f) for f in files]


def home_of(module: str) -> str:
    if module in HOMES:
        return HOMES[module]
    return next(package for package in sorted(RULES, key=len, reverse=True) if (module + ".").startswith(package + "."))


def imported(tree: ast.Module, *, lazily: bool) -> set[str]:
    """Names of imported modules; with `lazily`, those inside functions too."""
    nodes = ast.walk(tree) if lazily else tree.body
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize(("module", "file"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_module_imports_only_what_its_package_may(module: str, file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    is_entry = module.endswith("__main__") or module in LOADS_LATER  # may load its engine when a command needs it
    ours, third = RULES[home_of(module)]
    for name in imported(tree, lazily=not is_entry):
        top = name.split(".")[0]
        if top in OURS:
            assert home_of(name) in ours, f"{module} imports {name}"
        elif top not in sys.stdlib_module_names and top not in COMMON:
            assert top in third, f"{module} imports {name}"


def layer_of(module: str) -> int:
    part = module.split(".")[1] if "." in module else ""
    return JOBS_LAYERS.index(part) if part in JOBS_LAYERS else len(JOBS_LAYERS)


def test_layers_of_jobs_import_none_above_them() -> None:
    files = [(module, file) for module, file in modules() if home_of(module) == "jobs"]
    assert {layer_of(module) for module, _ in files} == set(range(len(JOBS_LAYERS) + 1))
    for module, file in files:
        for name in imported(ast.parse(file.read_text(encoding="utf-8")), lazily=True):
            if name.startswith("jobs"):
                assert layer_of(name) <= layer_of(module), f"{module} imports {name}"


@pytest.mark.parametrize("library", ["dbos", "gradio"])
def test_library_stays_in_its_home(library: str) -> None:
    users = {
        m for m, f in modules() if library in {n.split(".")[0] for n in imported(ast.parse(f.read_text()), lazily=True)}
    }
    homes = ONLY_HERE[library]
    assert users
    assert all(any(user == home or user.startswith(f"{home}.") for home in homes) for user in users), users


def test_environment_is_read_in_one_module_and_handed_on_in_another() -> None:
    readers = {
        module
        for module, file in modules()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    assert readers == ONLY_HERE["os.environ"]


def test_light_processes_never_import_torch() -> None:
    """One process imports them one after another: it takes as long as the longest of them."""
    light = ("app", "jobs.supervisor.worker", "trainer.__main__", "inference.client", "inference.generator")
    program = f"""
import importlib, sys
for entry in {light}:
    importlib.import_module(entry)
    heavy = {{"torch", "diffusers", "transformers"}} & set(sys.modules)
    assert not heavy, f"{{entry}} imports {{heavy}}"
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_adapter_loads_no_library_for_quantized_weights() -> None:
    """It takes as long as a short run's training; only the 8-bit optimizer needs it."""
    importlib.import_module("trainer.engine")
    assert not importlib.import_module("peft.import_utils").is_bnb_available()
