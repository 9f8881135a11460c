"""The in-process engine: the shared contract, and its numbers against lm-eval and transformers' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_contract import CHECKS, SHORT, answers, ask, check_base_stays_base

from harness import models
from harness.engines import transformers_engine
from harness.engines._forward import ATTENTION, Forward, Prefix
from harness.engines._tokens import common_prefix, cut_at_stop
from harness.engines.base import Adapter, Engine, Request
from harness.engines.transformers_engine import TransformersEngine
from harness.errors import EngineError
from harness.models import LocalModel
from harness.records import Decoding, Message


@pytest.fixture(scope="module")
def engine(small_model: LocalModel) -> Iterator[TransformersEngine]:
    with TransformersEngine(small_model) as running:
        yield running


@pytest.fixture(scope="module")
def adapter_path(small_model: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA with random weights that changes every answer."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with models.quiet():
        base = AutoModelForCausalLM.from_pretrained(small_model.path, dtype=torch.float32)
        tuned = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
        path = tmp_path_factory.mktemp("adapter")
        tuned.save_pretrained(path)
    return path


@pytest.mark.model
@pytest.mark.parametrize("check", CHECKS)
def test_it_keeps_the_contract(engine: TransformersEngine, check: Callable[[Engine], None]) -> None:
    check(engine)


@pytest.mark.model
def test_adapters_answer_beside_the_base_model(small_model: LocalModel, adapter_path: Path) -> None:
    with TransformersEngine(small_model, [Adapter("one.a", str(adapter_path))]) as running:
        check_base_stays_base(running, "one.a")
        running.load_adapter(Adapter("two", str(adapter_path)))
        assert answers(running, [ask("Hi")], "two")[0].text == answers(running, [ask("Hi")], "one.a")[0].text
        with pytest.raises(EngineError, match="name is taken"):
            running.load_adapter(Adapter("two", str(adapter_path)))
        with pytest.raises(EngineError, match="no adapter 'three'"):
            answers(running, [ask("Hi")], "three")


@pytest.mark.model
def test_an_adapter_that_is_half_there_is_refused(
    engine: TransformersEngine, adapter_path: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    before = answers(engine, [ask("Hi")])
    tensors = load_file(adapter_path / "adapter_model.safetensors")
    save_file(dict(list(tensors.items())[1:]), tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text((adapter_path / "adapter_config.json").read_text())
    with pytest.raises(EngineError, match="1 tensors have no counterpart"):
        engine.load_adapter(Adapter("half", str(tmp_path)))
    assert [answer.text for answer in answers(engine, [ask("Hi")])] == [answer.text for answer in before]


def few_shot(count: int) -> list[Request]:
    """Requests that share a long start and differ in length."""
    start = [Message(role="system", content="Answer with one word, the capital of the country that is asked for.")]
    for country, city in (("Italy", "Rome"), ("Japan", "Tokyo"), ("Egypt", "Cairo")):
        start += [Message(role="user", content=country), Message(role="assistant", content=city)]
    names = ["France", "Spain", "the United Kingdom of Great Britain", "Peru", "Norway and not Sweden", "Greece"]
    return [
        Request(Decoding(max_tokens=12), messages=(*start, Message(role="user", content=name)))
        for name in names[:count]
    ]


@pytest.mark.model
def test_sharing_a_prefix_changes_no_greedy_token(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = answers(engine, few_shot(6))
    monkeypatch.setattr(transformers_engine, "SHARED_FROM", 10**6)
    plain = answers(engine, few_shot(6))
    assert [one.text for one in shared] == [one.text for one in plain]


@pytest.mark.model
def test_sharing_a_prefix_changes_no_choice(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    start = "Capitals of the world, one on each line, in the form country and then its capital city.\n" * 3
    requests = [
        Request(SHORT, text=f"{start}{country} and", choices=(" Paris", " Lima, by the sea", " Oslo"))
        for country in ("France", "Peru", "Norway", "Great Britain")
    ]
    shared = answers(engine, requests)
    monkeypatch.setattr(transformers_engine, "SHARED_FROM", 10**6)
    for one, other in zip(shared, answers(engine, requests), strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


@pytest.mark.model
def test_greedy_answers_are_those_of_transformers(engine: TransformersEngine, small_model: LocalModel) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(small_model.path)
    with models.quiet():
        plain = AutoModelForCausalLM.from_pretrained(small_model.path, dtype=torch.float32)
    for request, answer in zip(few_shot(4), answers(engine, few_shot(4)), strict=True):
        turns = [message.model_dump() for message in request.messages]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")
        out = plain.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
        assert answer.text == tokenizer.decode(out, skip_special_tokens=True)
        assert (answer.tokens_in, answer.tokens_out) == (ids["input_ids"].shape[1], len(out))


@pytest.mark.model
@pytest.mark.filterwarnings("ignore")
def test_log_likelihoods_are_those_of_lm_eval(engine: TransformersEngine, small_model: LocalModel) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    contexts = ["The capital of France is", "Question: 2 + 2 = ", "", "<|im_start|>user\nHi", "One\n\n"]
    choices = (" Paris", "4 apples", " no", "12345")
    theirs = HFLM(pretrained=str(small_model.path), dtype="float32", batch_size=4, device="cpu")
    pairs = [(context, choice) for context in contexts for choice in choices]
    expected = theirs.loglikelihood(
        [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)], disable_tqdm=True
    )
    got = answers(engine, [Request(SHORT, text=context, choices=choices) for context in contexts])
    ours = [value for answer in got for value in answer.logprobs or ()]
    assert ours == pytest.approx([value for value, _ in expected], abs=1e-4)


def tiny(kind: str, **settings: Any) -> Any:
    """A random model of two or more layers."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = AutoConfig.for_model(kind, vocab_size=97, head_dim=8, num_hidden_layers=4, **shape, **settings)
    return AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION).eval()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("llama", {}),
        ("mistral", {"sliding_window": 5}),
        ("qwen3", {}),
        ("gemma2", {"sliding_window": 5, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
        ("gemma3_text", {"sliding_window": 5}),
    ],
)
def test_passes_of_other_architectures_are_right(kind: str, settings: dict[str, Any]) -> None:
    from harness.engines._decode import Generation, Job

    class Plain:
        ends: frozenset[int] = frozenset()

        def text(self, tokens: list[int]) -> str:
            return " ".join(map(str, tokens))

    forward = Forward(tiny(kind, **settings))
    prompts = [[3, 1, 4, 1, 5, 9, 2, 6, 5], [2, 7, 1], [8, 2, 8, 1, 8, 2, 8, 4, 5, 9, 0, 4]]
    jobs = [Job(number, prompt, Decoding(max_tokens=6)) for number, prompt in enumerate(prompts)]
    got = dict(Generation(forward, Plain(), None, 2, 64).run(jobs, Prefix()))  # type: ignore[arg-type]
    forward.model.set_attn_implementation("eager")
    for number, prompt in enumerate(prompts):
        out: list[int] = []
        for _ in range(6):
            logits = forward.model(torch.tensor([prompt + out]), use_cache=False).logits
            out.append(int(logits[0, -1].argmax()))
        assert got[number].text == " ".join(map(str, out))


def test_models_whose_layers_are_not_attention_are_refused() -> None:
    from types import SimpleNamespace

    from harness.engines._forward import layer_kinds

    with pytest.raises(EngineError, match="layers of kind linear_attention"):
        layer_kinds(SimpleNamespace(model_type="x", layer_types=["full_attention", "linear_attention"]))


def test_sampling_follows_the_odds() -> None:
    from harness.engines._decode import sample

    generator = torch.Generator().manual_seed(0)
    logits = torch.tensor([0.5, 0.3, 0.2]).log()
    drawn = [sample(logits, Decoding(temperature=1.0), generator) for _ in range(2000)]
    assert [drawn.count(token) / 2000 for token in range(3)] == pytest.approx([0.5, 0.3, 0.2], abs=0.04)
    cut = [sample(logits, Decoding(temperature=1.0, top_p=0.6), generator) for _ in range(500)]
    assert set(cut) == {0, 1}


def test_the_first_stop_string_cuts() -> None:
    assert cut_at_stop("one two three", ("three", " two")) == "one"
    assert cut_at_stop("one", ("x",)) is None


def test_common_prefix_counts_shared_tokens() -> None:
    assert common_prefix([[1, 2, 3], [1, 2], [1, 2, 4]]) == 2
