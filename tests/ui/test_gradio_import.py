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


def test_no_type_stub_of_gradio_is_read_or_written() -> None:
    program = [sys.executable, "-c", PROGRAM]
    said = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.startswith("0 ")
