"""The training contract and, in `trainer.engine`, the code that trains.

What lies here and in `photos`, `recipe`, `imports` and `machine` is light (pydantic, PIL, numpy, OpenCV) and may be
imported by the page and the queue. Everything with torch runs in a process of its own: `trainer.engine`,
`trainer.starter`, and the programs `imports.unpickle` and `machine.gpu_check`, which load PyTorch alone.
"""

import logging
import os

# Before torch is first imported: how often an OpenMP thread that waits looks again before it sleeps. By default it
# hardly ever sleeps, and two threads on two cores, one of them busy with something else, train 28 times slower; asleep
# at once, they are slower than one thread. This many looks cost a tenth of an idle machine's speed (all measured).
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

# Said at import on every CPU: xformers has no kernels here, bitsandbytes no 4-bit matmul. Neither is news: the probes
# in trainer.engine.attention and trainer.engine.optim report what really runs.
for _library in ("xformers", "bitsandbytes"):
    logging.getLogger(_library).setLevel(logging.ERROR)
