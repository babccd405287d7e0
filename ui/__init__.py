"""The page: draws, validates, translates errors. The only importer of gradio besides app.py; no torch, no state."""
