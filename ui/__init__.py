"""The page: draws, validates, translates errors. The only importer of gradio besides app.py; no torch, no state."""

from ui.serving.gradio_import import import_gradio

import_gradio()
