"""`harness doctor`: what this machine can do, what is missing and how to install it."""

from __future__ import annotations

from typing import Any

from harness import artifacts, machine, metrics
from harness.cli import console
from harness.engines import ServeSpec, choose
from harness.errors import EngineError, HarnessError
from harness.metrics import CHOICE_CORPUS_METRICS, CORPUS_METRICS, METRICS
from harness.store import default_root
from harness.suites import known_suites

EXTRAS = {
    "train": ("torch", "transformers", "peft", "trl", "accelerate", "datasets"),
    "eval": ("lm-eval",),
    "metrics": ("sacrebleu", "rouge-score", "jsonschema", "langdetect", "nltk", "regex"),
    "ui": ("streamlit",),
}
"""What each extra brings; an extra is ready when all of it is there."""


def examine() -> dict[str, Any]:
    """Everything found, as one JSON-able document."""
    installed = machine.packages()
    missing = {
        extra: [name for name in names if name not in installed]
        for extra, names in EXTRAS.items()
        if any(name not in installed for name in names)
    }
    engines = {}
    for name in ("vllm", "transformers"):
        try:
            engines[name] = {"can_run": True, "reason": choose(ServeSpec(engine=name)).reason}
        except EngineError as fault:
            engines[name] = {"can_run": False, "reason": str(fault).removeprefix("`engine: vllm` cannot run: ")}
    memory = machine.memory_bytes()
    try:
        auto = choose(ServeSpec()).name
    except EngineError:
        auto = None
    return {
        "python": machine.python(),
        "platform": machine.system(),
        "cpus": machine.cpus(),
        "memory_bytes": memory,
        "gpus": list(machine.gpus()),
        "packages": installed,
        "missing_extras": missing,
        "engines": engines,
        "auto_engine": auto,
        "harness_home": str(artifacts.home()),
        "reports": str(default_root()),
        "metrics": sorted({**METRICS, **CORPUS_METRICS, **CHOICE_CORPUS_METRICS}),
        "sandbox": _sandbox(),
        "suites": known_suites(),
    }


def _sandbox() -> dict[str, Any]:
    """What would hold answers that are run (`allow_code_execution`)."""
    try:
        held = metrics.protection()
    except HarnessError as fault:
        return {"held": False, "reason": str(fault)}
    return {"held": held.held, "reason": f"network: {held.network}; files: {held.files}"}


def display(found: dict[str, Any]) -> None:
    """The same for people."""
    memory = "unknown" if found["memory_bytes"] is None else f"{found['memory_bytes'] / 2**30:.1f} GiB"
    rows = [
        ["machine", f"{found['platform']}, {found['cpus']} cores, {memory} memory, Python {found['python']}"],
        ["GPU", ", ".join(found["gpus"]) or "none found (nvidia-smi tells of none): small models train on the CPU"],
        ["weights", found["harness_home"]],
        ["store", found["reports"]],
        ["suites", ", ".join(found["suites"]) or "none"],
        ["metrics", ", ".join(found["metrics"])],
        ["packages", ", ".join(f"{name} {version}" for name, version in found["packages"].items())],
    ]
    sandbox = found["sandbox"]
    rows.append(["sandbox for code", f"{'ready' if sandbox['held'] else 'not here'}: {sandbox['reason']}"])
    for name, engine in found["engines"].items():
        auto = " (taken by `auto`)" if name == found["auto_engine"] else ""
        rows.append(
            [f"engine {name}", ("ready" if engine["can_run"] else "cannot run") + auto + ": " + engine["reason"]]
        )
    for extra, names in found["missing_extras"].items():
        rows.append([f"missing [{extra}]", f"{', '.join(names)}: pip install 'finetune-harness[{extra}]'"])
    console.out.print(console.table("", [("", "left"), ("", "left")], rows))
