"""Which machine takes which job, and when. `queue` is the only importer of DBOS; `job_queue` puts
jobs in and back, and `fleet` knows who serves them."""
