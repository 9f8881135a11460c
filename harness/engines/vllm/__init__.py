"""vLLM as a child process: where it is found, how it is started, how it answers.

found     which interpreter has vLLM, and whether it can run here
flags     the server's command line and environment
adapters  which adapters vLLM would serve wrongly, refused before they are loaded
engine    the running server as an Engine
"""

from harness.engines.vllm.adapters import adapter_rank
from harness.engines.vllm.ask import beyond_openai
from harness.engines.vllm.engine import VllmEngine
from harness.engines.vllm.flags import (
    KEY_VARIABLE,
    Public,
    Settings,
    needed_environment,
    passed_flags,
    serve_command,
    server_command,
)
from harness.engines.vllm.found import INSTALL, Found, find

__all__ = [
    "INSTALL",
    "KEY_VARIABLE",
    "Found",
    "Public",
    "Settings",
    "VllmEngine",
    "adapter_rank",
    "beyond_openai",
    "find",
    "needed_environment",
    "passed_flags",
    "serve_command",
    "server_command",
]
