"""Base models: from the name in a spec to a checked local folder with its content digest.

Four spellings: a hub id (`owner/name`), a local folder (`./my-model`), `package:NAME`, a
model that travels in a package of the Python index, and `openai:NAME`, a model that only a
server has: known by name only, because its weights cannot be seen. `exists` is
the cheap check before anything is started; `resolve` fetches, converts and hashes.
"""

import os

from harness.models.folder import LocalModel, chat_template, context_length, refuse_other
from harness.models.names import exists, identity
from harness.models.present import licence, on_disk, prompt_text, token_counter
from harness.models.quiet import quiet
from harness.models.resolve import remote, resolve, resolve_judged

__all__ = [
    "LocalModel",
    "chat_template",
    "context_length",
    "exists",
    "identity",
    "licence",
    "on_disk",
    "prompt_text",
    "quiet",
    "refuse_other",
    "remote",
    "resolve",
    "resolve_judged",
    "token_counter",
]

# Must be in place before torch is first loaded, which happens after this package is. Threads that
# wait by spinning make torch ten times slower beside any other busy process, and are no faster alone.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
