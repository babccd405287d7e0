"""Everything that trains: family x method, one loop. Imports torch; runs in a process of its own."""

import diffusers.utils.logging
import transformers.utils.logging

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
diffusers.utils.logging.disable_progress_bar()
