"""The training contract and, in `trainer.engine`, the code that trains.

Modules directly in this package are light (pydantic, PIL, numpy, OpenCV) and may be imported by the page and the
queue. Everything with torch is in `trainer.engine` and `trainer.starter` and runs in a process of its own.
"""

import logging
import os

# Before torch is first imported: OpenMP threads that wait sleep instead of spinning. Spinning, two threads on two cores
# of which one is also wanted by somebody else trained 28 times slower (measured).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Said at import on every CPU: xformers has no kernels here, bitsandbytes no 4-bit matmul. Neither is news: the probes
# in trainer.engine.attention and trainer.engine.optim report what really runs.
for _library in ("xformers", "bitsandbytes"):
    logging.getLogger(_library).setLevel(logging.ERROR)
