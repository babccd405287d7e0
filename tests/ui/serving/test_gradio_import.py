"""What importing the page's library does besides."""

from __future__ import annotations

import subprocess
import sys

from tests import ROOT

PROGRAM = """
import sys
stubs = []
sys.addaudithook(lambda event, about: stubs.append(about[0]) if event == "open" and ".pyi" in str(about[0]) else None)
import ui
from gradio.blocks_events import create_or_modify_pyi
import gradio
create_or_modify_pyi(gradio.Button, "Button", [])
print(len(stubs), gradio.Button("x").click)
"""


def test_class_of_ours_gets_no_type_stub_whoever_imported_gradio_first() -> None:
    stub = ROOT / "ui" / "try_it" / "start_picture.pyi"
    assert not stub.exists()
    subprocess.run([sys.executable, "-c", "import gradio, ui.try_it.start_picture"], cwd=ROOT, check=True)
    assert not stub.exists()


def test_no_type_stub_of_gradio_is_read_or_written() -> None:
    program = [sys.executable, "-c", PROGRAM]
    said = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.startswith("0 ")
