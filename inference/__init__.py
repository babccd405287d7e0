"""Pictures from prompts: what is asked for, which concepts there are, and the process that holds the models.

`engine`, `prompting`, `picture_server` and `failures` import torch; everything else is light.
"""
