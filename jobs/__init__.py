"""The life of a job: its states, its row in the database, its place in the queue, and the process that runs it.

Imports neither gradio nor torch. `queue` is the only importer of DBOS.
"""
