"""Training in a Job at Hugging Face: sent there by a machine that has not what it takes, followed, and fetched home.

`trainer` is the supervisor's side, `container` what runs inside the Job. Between them lies a private bucket of whoever
pays, with the run folder in it as whole files.
"""
