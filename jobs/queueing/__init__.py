"""Which machine takes which job, and when. `queue` is the only importer of DBOS; `job_queue` is what others call."""
