"""vLLM as an engine: one real server for all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import engine_contract
import pytest

from harness import models
from harness.engines import ServeSpec, check_adapter_acts, open_engine, vllm
from harness.engines.base import Adapter, Answer, Engine, Request
from harness.engines.vllm import Settings, VllmEngine
from harness.engines.vllm.flags import BASE
from harness.errors import EngineError
from harness.evaluate import Job, evaluate, evaluate_all
from harness.models import LocalModel, quiet
from harness.progress import Silent
from harness.records import Candidate, Decoding, Item, Message, Prompt
from harness.store import Store
from harness.suites import Suite, Task

PATIENCE_S = 120
"""A busy machine is slow, not wrong."""
GREEDY = Decoding(max_tokens=8)
QUESTIONS = ("What is the capital of France?", "Name three colours.", "What is 2 + 2?")
CHOICES = {
    "The capital of France is": (" Paris", " Rome, the city of seven hills", " a"),
    "Answer with a letter. ": ("A", "B", "C"),
    "": ("Paris is a city.", "Colourless green ideas"),
}


@pytest.fixture(scope="session")
def python() -> str:
    """The interpreter with vLLM."""
    found = vllm.find()
    if found.python is None:
        pytest.skip(f"no vLLM to test: {found.reason}. {vllm.INSTALL}")
    return found.python


@pytest.fixture(scope="session")
def adapters(small_model: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Adapter]:
    """Two adapters with random weights, and one that changes nothing."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    made = {}
    for seed, (name, spread) in enumerate({"first": 0.05, "second": 0.05, "inert": 0.0}.items()):
        torch.manual_seed(seed)
        base = AutoModelForCausalLM.from_pretrained(small_model.path, dtype=torch.float32)
        modules = ["q_proj", "v_proj", "gate_proj", "down_proj"]
        config = LoraConfig(r=8, lora_alpha=16, target_modules=modules, task_type="CAUSAL_LM")
        with quiet():
            tuned = get_peft_model(base, config)
        for key, weights in tuned.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(weights, std=spread)
        folder = tmp_path_factory.mktemp("adapters") / name
        tuned.save_pretrained(folder)
        made[name] = Adapter(name, str(folder))
    return made


@pytest.fixture(scope="session")
def engine(
    python: str, small_model: LocalModel, adapters: dict[str, Adapter], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VllmEngine]:
    """One server with two adapters and room for a third."""
    log = tmp_path_factory.mktemp("vllm") / "engine.log"
    settings = Settings(device=vllm.find().device, dtype="float32", max_model_len=1024, max_adapters=3, adapter_rank=8)
    pair = (adapters["first"], adapters["second"])
    with VllmEngine(small_model, pair, python=python, log=log, settings=settings) as running:
        yield running


def chat(question: str) -> Request:
    return Request(GREEDY, messages=(Message(role="user", content=question),))


def ask_mixed(engine: VllmEngine, requests: Sequence[Request]) -> dict[str | None, list[Answer]]:
    """The same requests to the base model and both adapters, all in flight together."""
    names = (None, "first", "second")
    mixed = [replace(request, adapter=name) for request in requests for name in names]
    answers = engine_contract.answers(engine, mixed)
    return {name: answers[at :: len(names)] for at, name in enumerate(names)}


class Reference:
    """transformers and peft, one request at a time."""

    def __init__(self, model: LocalModel, adapters: dict[str, Adapter]) -> None:
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(model.path)
        base = AutoModelForCausalLM.from_pretrained(model.path, dtype=torch.float32)
        with quiet():
            self.model = PeftModel.from_pretrained(base, adapters["first"].path, adapter_name="first")
            self.model.load_adapter(adapters["second"].path, adapter_name="second")
        self.model.eval()

    def run(self, adapter: str | None, work: Any) -> Any:
        import torch

        with torch.no_grad():
            if adapter is None:
                with self.model.disable_adapter():
                    return work()
            self.model.set_adapter(adapter)
            return work()

    def chat(self, adapter: str | None, question: str) -> str:
        turns = [{"role": "user", "content": question}]
        ids = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")["input_ids"]
        new = self.run(
            adapter, lambda: self.model.generate(input_ids=ids, max_new_tokens=GREEDY.max_tokens, do_sample=False)
        )
        return str(self.tokenizer.decode(new[0, ids.shape[1] :], skip_special_tokens=True))

    def loglikelihood(self, adapter: str | None, context: str, choice: str) -> float:
        import torch

        before, after = lm_eval_pair(self.tokenizer, context, choice)
        ids = torch.tensor([before + after])
        rows = self.run(adapter, lambda: self.model(input_ids=ids).logits[0].log_softmax(-1))
        return sum(float(rows[len(before) + i - 1, token]) for i, token in enumerate(after))


def lm_eval_pair(tokenizer: Any, context: str, choice: str) -> tuple[list[int], list[int]]:
    """lm-eval's own split."""
    from lm_eval.api.model import TemplateLM

    class Split:
        backend = "causal"

        def tok_encode(self, text: str) -> list[int]:
            return list(tokenizer.encode(text))

    if not context:
        return [tokenizer.bos_token_id], tokenizer.encode(choice, add_special_tokens=False)
    return TemplateLM._encode_pair(Split(), context, choice)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def reference(small_model: LocalModel, adapters: dict[str, Adapter]) -> Reference:
    return Reference(small_model, adapters)


@pytest.mark.vllm
@pytest.mark.parametrize("check", engine_contract.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_vllm_holds_to_the_contract(engine: VllmEngine, check: Callable[[Engine], None]) -> None:
    check(engine)


@pytest.fixture(scope="session")
def by_url(engine: VllmEngine, small_model: LocalModel) -> Iterator[Engine]:
    """The same server, asked over its URL as someone else's."""
    where = {"url": engine.url, "api_model": BASE, "adapter_models": {"first": "first"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_API_KEY", engine._connect.keywords["api_key"])
        spec = ServeSpec(engine="openai", **where)
        with open_engine(spec, small_model, max_adapters=1, log=Path("unused")) as opened:
            yield opened


@pytest.mark.vllm
@pytest.mark.parametrize("check", engine_contract.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_a_vllm_server_at_a_url_holds_to_the_contract(by_url: Engine, check: Callable[[Engine], None]) -> None:
    check(by_url)


@pytest.mark.vllm
def test_a_vllm_server_at_a_url_answers_for_its_adapters(by_url: Engine) -> None:
    by_url.load_adapter(Adapter("first", "served under this name"))
    engine_contract.check_base_stays_base(by_url, "first")
    check_adapter_acts(by_url, "first")


@pytest.mark.vllm
def test_a_vllm_server_scores_choices_also_for_who_has_no_files_of_its_model(
    engine: VllmEngine, by_url: Engine
) -> None:
    requests = [Request(GREEDY, text=context, choices=choices) for context, choices in CHOICES.items() if context]
    spec = ServeSpec(engine="openai", url=engine.url)
    with open_engine(spec, models.resolve(f"openai:{BASE}"), max_adapters=0, log=Path("unused")) as blind:
        assert blind.conditions.flags["kind"] == "vllm"
        for one, other in zip(*(engine_contract.answers(asked, requests) for asked in (blind, by_url)), strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


@pytest.mark.vllm
def test_base_and_adapter_can_be_asked_in_turns(engine: VllmEngine) -> None:
    engine_contract.check_base_stays_base(engine, "first")


@pytest.mark.vllm
def test_mixed_greedy_answers_equal_transformers_and_peft(engine: VllmEngine, reference: Reference) -> None:
    mixed = ask_mixed(engine, [chat(question) for question in QUESTIONS])
    for name, answers in mixed.items():
        assert [answer.text for answer in answers] == [reference.chat(name, question) for question in QUESTIONS]
    texts = {tuple(answer.text for answer in answers) for answers in mixed.values()}
    assert len(texts) == 3, "the adapters must differ for this to prove anything"


@pytest.mark.vllm
def test_mixed_log_likelihoods_equal_transformers_and_peft(engine: VllmEngine, reference: Reference) -> None:
    requests = [Request(GREEDY, text=context, choices=choices) for context, choices in CHOICES.items()]
    for name, answers in ask_mixed(engine, requests).items():
        for (context, choices), answer in zip(CHOICES.items(), answers, strict=True):
            expected = [reference.loglikelihood(name, context, choice) for choice in choices]
            assert answer.logprobs == pytest.approx(expected, abs=1e-3)


@pytest.mark.vllm
def test_base_and_two_adapters_evaluated_together_give_the_samples_of_one_after_the_other(
    engine: VllmEngine, small_model: LocalModel, tmp_path: Path
) -> None:
    asked = tuple(
        Item(id=str(n), messages=(Message(role="user", content=f"{question} Answer {n}."),), target="Paris")
        for n, question in enumerate(QUESTIONS * 4)
    )
    scored = tuple(
        Item(id=str(n), text=context, choices=choices, target=choices[0])
        for n, (context, choices) in enumerate(CHOICES.items())
    )
    tasks = (
        Task("chat", "generate", asked, ("contains",), GREEDY),
        Task("choice", "choice", scored, ("acc",), GREEDY),
    )
    suite, raw = Suite("s", "task", "test", tasks), Prompt(name="raw", instruction="Be brief.")
    who = [Candidate(name=n, model=small_model.ref, prompt=raw, decoding=GREEDY) for n in ("base", "first", "second")]
    jobs = [Job(one, suite, None if one.name == "base" else one.name) for one in who]
    together, alone = (Store(tmp_path).create(f"{name}--1", "name: x\n") for name in ("together", "alone"))
    runs = [run.id for _, run in evaluate_all(jobs, engine, together, Silent())]
    assert runs == [evaluate(job.candidate, suite, engine, alone, Silent(), job.adapter).id for job in jobs]
    said = set()
    for id in runs:
        for one, other in zip(together.samples(id), alone.samples(id), strict=True):
            assert one.logprobs == (None if other.logprobs is None else pytest.approx(other.logprobs, abs=1e-3))
            told = {"latency_s", "logprobs"}
            assert one.model_dump(exclude=told) == other.model_dump(exclude=told)
        said.add(tuple(sample.answer for sample in together.samples(id) if sample.task == "chat"))
    assert len(said) == 3, "the adapters must differ for this to prove anything"


@pytest.mark.vllm
def test_constrained_answers_equal_those_of_the_transformers_engine(
    engine: VllmEngine, small_model: LocalModel, adapters: dict[str, Adapter]
) -> None:
    from harness.engines.transformers_engine import TransformersEngine

    constraints: list[dict[str, Any]] = [
        {"choices": ("Paris", "Paris, France", "Rome", "blue")},
        {"regex": "[0-9]+( degrees)?"},
        {"json_schema": engine_contract.PERSON},
        {"json_schema": {"type": "object", "properties": {"colours": {"type": "array", "items": {"type": "string"}}}}},
    ]
    requests = [engine_contract.constrained(question, **given) for given in constraints for question in QUESTIONS]
    with TransformersEngine(small_model, [adapters["first"]]) as other:
        for adapter in (None, "first"):
            expected = engine_contract.answers(other, requests, adapter)
            got = engine_contract.answers(engine, requests, adapter)
            assert [answer.error for answer in got] == [None] * len(requests)
            assert [(one.text, one.finish) for one in got] == [(one.text, one.finish) for one in expected]


@pytest.mark.vllm
def test_an_adapter_that_changes_nothing_is_found_out(engine: VllmEngine, adapters: dict[str, Adapter]) -> None:
    engine.load_adapter(adapters["inert"])
    check_adapter_acts(engine, "first")
    with pytest.raises(EngineError, match="'inert' changes nothing"):
        check_adapter_acts(engine, "inert")


@pytest.mark.vllm
def test_more_adapters_than_promised_are_refused(engine: VllmEngine, adapters: dict[str, Adapter]) -> None:
    with pytest.raises(EngineError, match="started for 3 adapter"):
        engine.load_adapter(Adapter("fourth", adapters["first"].path))


@pytest.mark.vllm
def test_an_unknown_adapter_is_named_with_those_that_are_loaded(engine: VllmEngine) -> None:
    with pytest.raises(EngineError, match="no adapter 'frist' is loaded; loaded: first, second"):
        list(engine.answer([replace(chat("hello"), adapter="frist")]))


@pytest.mark.vllm
def test_what_does_not_fit_the_context_is_an_error_and_never_a_cut_answer(engine: VllmEngine) -> None:
    long = "word " * (int(engine.conditions.flags["max_model_len"]) - 2)
    questions = [Request(GREEDY, text=long), Request(GREEDY, text=long + long, choices=("a", "b"))]
    for _, answer in engine.answer(questions):
        assert answer.text is None
        assert answer.logprobs is None
        assert answer.error


@pytest.mark.vllm
def test_the_server_refuses_strangers_and_keeps_its_key_to_itself(engine: VllmEngine) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(engine.url + "/v1/models", timeout=PATIENCE_S)  # noqa: S310
    refused.value.close()
    assert refused.value.code == 401
    commands = subprocess.run(["ps", "-A", "-ww", "-o", "command="], capture_output=True, text=True, check=True).stdout
    key = engine._connect.keywords["api_key"]
    assert key not in commands
    assert key not in engine._process.log.read_text()


@pytest.mark.vllm
def test_nothing_is_left_of_a_server_whose_harness_is_killed(
    python: str, small_model: LocalModel, tmp_path: Path
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from harness.models import resolve; "
        "from harness.engines.vllm import VllmEngine; "
        "engine = VllmEngine(resolve(sys.argv[1]), python=sys.argv[2], log=Path(sys.argv[3])); "
        "print(engine.group, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(small_model.path), python, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        group = int(harness.stdout.readline())
        assert len(living(group)) >= 3, "guard, server and its engine core"
        harness.kill()
    wait_until_gone(group)


@pytest.mark.vllm
def test_a_server_that_is_killed_is_an_engine_error_with_its_log(engine: VllmEngine) -> None:
    """Last in this file: it ends the shared server."""
    answers = engine.answer([chat(f"Write a long story about the number {n}.") for n in range(40)])
    next(answers)
    os.killpg(engine.group, signal.SIGKILL)
    with pytest.raises(EngineError, match="the vLLM server died"):
        list(answers)
    engine.close()
    wait_until_gone(engine.group)


def wait_until_gone(group: int) -> None:
    """Wait for the end of what was killed: who frees gigabytes takes a moment."""
    deadline = time.monotonic() + PATIENCE_S
    while (left := living(group)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def living(group: int) -> list[str]:
    """Processes of a group that are more than zombies."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [row[2][:60] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]
