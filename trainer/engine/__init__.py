"""Everything that trains: family x method, one loop. Imports torch; runs in a process of its own."""

import diffusers.utils.logging
import transformers.utils.logging

for _library in (transformers, diffusers):
    _library.utils.logging.set_verbosity_error()
    _library.utils.logging.disable_progress_bar()
