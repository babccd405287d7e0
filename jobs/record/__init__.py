"""What is written down of a job: its state and row in the database, and what its run folder says of it."""
