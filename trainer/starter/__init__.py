"""The recipe that made `assets/starter`: a small Stable Diffusion pipeline trained from openly licensed pictures.

Counts as part of the engine (torch lives here). Nothing of the app imports it; `make starter` runs it.
"""
