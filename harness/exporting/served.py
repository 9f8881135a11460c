"""What vLLM is started with, as files: the command that `harness serve` runs, a Dockerfile and a compose file."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Final

import yaml

from harness.engines import ServeSpec, vllm
from harness.engines.public import Public, Served
from harness.exporting.source import Source
from harness.models import LocalModel
from harness.records import RejudgedRecord

MODEL: Final = "model"
"""Folder of the model in an export for vLLM."""
ADAPTER: Final = "adapter"
PORT: Final = 8000
IMAGE: Final = "vllm/vllm-openai"
KEY: Final = "VLLM_API_KEY"
"""Environment variable from which vLLM takes its key: it stands in no file and on no command line."""


def command(source: Source, folder: Path, model: LocalModel, spec: ServeSpec, host: str) -> list[str]:
    """The words of `vllm serve` for an export, as on a GPU; run in the export's folder."""
    adapter = folder / ADAPTER
    name = source.alias or source.folder.name
    there = Public(name, str(adapter) if adapter.is_dir() else "", host, PORT, "")
    served = Served(spec, replace(model, path=folder / MODEL), there)
    words = vllm.serve_command(served.model, served.settings("cuda"), PORT)
    return [word.replace(str(folder) + "/", "./") for word in words]


def script(words: list[str]) -> str:
    """A shell script that starts it from wherever it lies."""
    return "\n".join(
        [
            "#!/bin/sh",
            "# Serves what was judged. Set VLLM_API_KEY to a key that askers must know.",
            'cd "$(dirname "$0")" || exit 1',
            ': "${VLLM_API_KEY:?set VLLM_API_KEY to a key that askers must know}"',
            f"exec {shlex.join(words)}",
            "",
        ]
    )


def dockerfile(words: list[str], judged: RejudgedRecord | None) -> str:
    """An image of vLLM with the model in it; no secret enters it."""
    version = "latest"
    if judged is not None and judged.conditions.engine == "vllm":
        version = "v" + judged.conditions.engine_version.partition("+")[0]
    arguments = words[words.index("serve") + 1 :]
    told = "the version that it was judged with" if version != "latest" else "name the version that you have tried"
    return "\n".join(
        [
            f"# {told[0].upper()}{told[1:]}.",
            f"ARG VLLM_VERSION={version}",
            f"FROM {IMAGE}:${{VLLM_VERSION}}",
            "ENV HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1",
            "WORKDIR /srv/export",
            "COPY . .",
            f"EXPOSE {PORT}",
            'ENTRYPOINT ["vllm", "serve"]',
            f"CMD {_json(arguments)}",
            "",
        ]
    )


def compose(name: str) -> str:
    """One service on the loopback address; its key comes from the environment of whoever starts it."""
    gpu = {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    service = {
        "build": ".",
        "image": name.lower(),
        "ports": [f"127.0.0.1:{PORT}:{PORT}"],
        "environment": {KEY: f"${{{KEY}:?set {KEY} to a key that askers must know}}"},
        "ipc": "host",
        "restart": "unless-stopped",
        "deploy": {"resources": {"reservations": {"devices": [gpu]}}},
    }
    return yaml.safe_dump({"services": {"model": service}}, sort_keys=False, width=110)


def _json(words: list[str]) -> str:
    import json

    return json.dumps(words)
