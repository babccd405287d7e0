"""Pictures from prompts: what is asked for, which concepts there are, and the process that holds the models.

`request`, `catalog`, `metadata`, `weights` and `client` are light; torch is imported by `engine` and `generator` only.
"""
