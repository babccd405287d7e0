"""The life of a job: its states, its row in the database, its place in the queue, and the process that runs it.

Imports neither gradio nor torch. From the bottom up, each importing only what stands before it: `record`, `runs`,
`hub`, `queueing`, `publishing`, `mirror`, `supervisor`, `remote`, `money`, `submission`, `views`, and last the modules
here, which join them: `service` is what the page and the command line call.
"""
