"""Pictures from prompts: what is asked for, which concepts there are, and the process that holds the models.

Only `engine`, `prompting` and `picture_server` import torch; everything else is light.
"""
