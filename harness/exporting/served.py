"""What vLLM is started with, as files: the command that `harness serve` runs, a Dockerfile and a compose file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
KEY: Final = vllm.KEY_VARIABLE


@dataclass(frozen=True, slots=True)
class Command:
    """What starts vLLM over an export, as on a GPU, in the export's folder."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    """What it needs there beside its key."""


def command(source: Source, folder: Path, model: LocalModel, spec: ServeSpec, host: str) -> Command:
    """The `vllm serve` of an export: every path in it is meant from the export's folder."""
    here = folder.resolve()  # as the adapter's path stands in the words
    adapter = here / ADAPTER
    there = Public(source.alias or source.folder.name, str(adapter) if adapter.is_dir() else "", host, PORT, "")
    served = Served(spec, replace(model, path=here / MODEL), there)
    settings = served.settings("cuda")
    words = vllm.serve_command(served.model, settings, PORT)
    environment = vllm.needed_environment(settings, served.model)
    return Command(tuple(word.replace(f"{here}/", "./") for word in words), environment)


def script(start: Command) -> str:
    """A shell script that starts it from wherever it lies."""
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in start.environment.items())
    return "\n".join(
        [
            "#!/bin/sh",
            f"# Serves what was judged. Set {KEY} to a key that askers must know.",
            'cd "$(dirname "$0")" || exit 1',
            f': "${{{KEY}:?set {KEY} to a key that askers must know}}"',
            f"export {settings}",
            f"exec {shlex.join(start.words)}",
            "",
        ]
    )


def dockerfile(start: Command, judged: RejudgedRecord | None) -> str:
    """An image of vLLM with the model in it; no secret enters it."""
    version = "latest"
    if judged is not None and judged.conditions.engine == "vllm":
        version = "v" + judged.conditions.engine_version.partition("+")[0]
    program, serve, *arguments = start.words
    told = "the version that it was judged with" if version != "latest" else "name the version that you have tried"
    return "\n".join(
        [
            f"# {told[0].upper()}{told[1:]}.",
            f"ARG VLLM_VERSION={version}",
            f"FROM {IMAGE}:${{VLLM_VERSION}}",
            f"ENV {' '.join(f'{name}={value}' for name, value in start.environment.items())}",
            "WORKDIR /srv/export",
            "COPY . .",
            f"EXPOSE {PORT}",
            f"ENTRYPOINT {json.dumps([program, serve])}",
            f"CMD {json.dumps(arguments)}",
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
