"""`harness serve`: what is served is what was judged, the line works as it stands, and nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import judged_store
import pytest
from judged_store import DECODING, ITEMS, PROMPT
from small_training import CHATML, job, tiny

from harness import evaluate
from harness import spec as specs
from harness.chat import chat
from harness.cli import main
from harness.engines import vllm
from harness.engines.transformers_engine import TransformersEngine
from harness.errors import EngineError, StoreError, UsageError
from harness.models import LocalModel
from harness.progress import Silent
from harness.records import Message, Retrieval
from harness.releasing import promote, serving
from harness.releasing.judged import ask_again, judged_questions
from harness.releasing.serving import Plan
from harness.store import Store
from harness.trainers import METHODS, TrainSpec, no_scorer


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return tiny(tmp_path_factory.mktemp("tiny"), CHATML)


@pytest.fixture(scope="module")
def judged(model: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judged_store.build(tmp_path_factory.mktemp("reports"), model).root


@pytest.fixture
def store(judged: Path, tmp_path: Path) -> Store:
    shutil.copytree(judged, tmp_path / "reports")
    return Store(tmp_path / "reports")


def planned(store: Store, wanted: str = "clock", **changes: Any) -> Plan:
    asked = {"host": "127.0.0.1", "port": 8123, "key": "", "note": lambda text: None} | changes
    return serving.plan(serving.find(store, wanted), **asked)


def sent(line: str) -> dict[str, Any]:
    """What a curl line sends."""
    words = shlex.split(line)
    told: dict[str, Any] = json.loads(words[words.index("-d") + 1])
    return told


def test_the_line_asks_a_judged_question_as_it_was_asked(store: Store) -> None:
    body = sent(planned(store).curl())
    assert [Message.model_validate(turn) for turn in body["messages"]] == list(chat(PROMPT, ITEMS[0]))
    assert (body["max_tokens"], body["temperature"], body["stop"]) == (DECODING.max_tokens, 0.0, ["\n\n"])
    assert body["model"] == "clock"
    assert body["stop_token_ids"]


def test_an_alias_is_asked_by_its_name_and_serves_what_was_promoted(store: Store) -> None:
    promote(store, store.find("clock"))
    made = planned(store, "production")
    assert made.deployed.move is not None
    assert sent(made.curl())["model"] == "production"
    assert "--served-model-name production" in made.command


def test_questions_of_the_store_are_proven_by_their_digests(store: Store) -> None:
    folder = store.find("clock")
    (run,) = folder.runs()
    questions, why = judged_questions(folder, run, most=3)
    assert [one.id for one in questions] == ["t0", "t2", "t4"]
    assert why == ""
    assert questions[1].messages == chat(PROMPT, ITEMS[2])


def test_judged_answers_come_again_from_the_same_weights_and_not_from_another_prompt(
    store: Store, model: LocalModel
) -> None:
    folder = store.find("clock")
    (run,) = folder.runs()
    questions, _ = judged_questions(folder, run)
    other = [type(one)(one.id, one.messages[1:], one.answer) for one in questions]
    with TransformersEngine(model) as engine:
        same = ask_again(engine, None, run.candidate, questions)
        changed = ask_again(engine, None, run.candidate, other)
    assert (same.asked, same.same, same.differ) == (len(ITEMS), len(ITEMS), ())
    assert changed.same < changed.asked
    assert changed.differ[0][1] == questions[0].answer


def test_conversations_are_not_put_together_from_their_last_turn(model: LocalModel, tmp_path: Path) -> None:
    talk = [
        item.model_copy(update={"messages": (Message(role="user", content="Hi"), Message(role="assistant", content="?"),
                                             *item.messages)})
        for item in ITEMS
    ]  # fmt: skip
    made = planned(judged_store.build(tmp_path, model, items=talk))
    assert not made.questions
    assert "a question that was not judged" in made.notes[-1]
    assert sent(made.curl())["messages"][-1]["content"] == "Your question"


def test_where_examples_are_looked_up_the_line_shows_one_question_as_it_was_composed(
    model: LocalModel, tmp_path: Path
) -> None:
    train = {"messages": [{"role": "user", "content": "It's 3 o'clock; what comes next?"},
                          {"role": "assistant", "content": "4"}]}  # fmt: skip
    for name in ("train", "dev", "test"):
        rows = [json.dumps(train).replace("3 o'clock", f"{name} {n}") + "\n" for n in range(12)]
        (tmp_path / f"{name}.jsonl").write_text("".join(rows))
    spec = {"name": "clock", "hypothesis": "x", "model": str(model.path), "task": {"metric": "exact_match"},
            "data": {name: f"{name}.jsonl" for name in ("train", "dev", "test")},
            "gates": [{"suite": "task", "against": "base", "min_delta": 0.0}]}  # fmt: skip
    (tmp_path / "e.yaml").write_text(json.dumps(spec))
    experiment = specs.load(tmp_path / "e.yaml")
    corpus = experiment.shelves().corpus("train")
    retrieval = Retrieval(source="train", use="demonstrations", count=2, corpus=corpus)
    prompt = PROMPT.model_copy(update={"retrieval": retrieval, "demonstrations": ()})
    store = judged_store.build(tmp_path / "reports", model, prompt=prompt, experiment=experiment)
    made = planned(store)
    (run,) = store.find("clock").runs()
    assert store.find("clock").samples(run.id)[0].retrieved
    turns = sent(made.curl())["messages"]
    assert len(turns) == 6
    assert turns[-1]["content"] == ITEMS[0].messages[0].content
    assert "for every question train rows are looked up first" in made.notes[0]
    (tmp_path / "train.jsonl").unlink()
    assert "cannot be" in planned(store).why_none


@pytest.mark.parametrize(
    ("kind", "told"), [("classifier", "a label head, which writes no text"), ("remote", "nothing lies here")]
)
def test_what_vllm_cannot_serve_is_refused_with_what_to_do(store: Store, kind: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        planned(judged_store.under(store, kind=kind, remote="theirs" if kind == "remote" else None))


def test_a_server_for_others_wants_a_key(store: Store) -> None:
    with pytest.raises(UsageError, match=r"no key is set.*HARNESS_SERVE_KEY"):
        planned(store, host="0.0.0.0")  # noqa: S104
    made = planned(store, host="0.0.0.0", key="s3cret")  # noqa: S104
    assert 'Authorization: Bearer $HARNESS_SERVE_KEY"' in made.curl()
    assert 'VLLM_API_KEY="$HARNESS_SERVE_KEY"' in made.command
    assert "s3cret" not in made.command + made.curl()
    assert made.url == "http://127.0.0.1:8123/v1"


def test_nothing_can_be_loaded_into_what_is_served(store: Store) -> None:
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=False" in planned(store).command


def test_another_model_under_the_same_name_is_not_served(store: Store, tmp_path: Path) -> None:
    folder = store.find("clock")
    other = tiny(tmp_path / "other", CHATML.replace("user", "you") + " ")
    (folder.path / "spec.yaml").write_text(f"name: clock\nmodel: {other.path}\n")
    with pytest.raises(StoreError, match="not the one that was judged"):
        planned(store)


def test_an_alias_whose_experiment_is_gone_is_told(store: Store) -> None:
    promote(store, store.find("clock"), "staging")
    shutil.rmtree(store.find("clock").path)
    with pytest.raises(StoreError, match=r"alias staging: points to clock--00000001, which is no longer in the store"):
        serving.find(store, "staging")


def test_a_port_that_is_taken_is_told_before_anything_starts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = vllm.Found(sys.executable, "cpu", "vLLM is here")
    monkeypatch.setattr(vllm, "find", lambda: found)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        made = planned(store, port=taken.getsockname()[1])
        with pytest.raises(EngineError, match=r"cannot be listened on.*--port"), serving.serve(made, print):
            pass


def test_print_starts_nothing_and_is_one_document_for_scripts(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    main_exits(["serve", "clock", "--print", "--json", "--reports", str(store.root)])
    told = json.loads(capsys.readouterr().out)
    assert (told["experiment"], told["candidate"], told["alias"]) == ("clock--00000001", "prompted", None)
    assert "--generation-config vllm" in told["command"]
    assert sent(told["curl"])["model"] == "clock"


def main_exits(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert not left.value.code


# --------------------------------------------------------------- with the real server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def alive(part: str) -> list[str]:
    """Processes whose command line holds `part`."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # one that ends while it is looked at
            lines.append(path.read_bytes())
    return [line.decode(errors="replace") for line in lines if part.encode() in line]


@pytest.mark.vllm
@pytest.mark.model
@pytest.mark.parametrize("method", ["lora", pytest.param("dora", marks=pytest.mark.slow)])
def test_the_printed_line_gets_the_judged_answer_from_a_real_server(
    small_model: LocalModel, tmp_path: Path, method: str
) -> None:
    if (found := vllm.find()).python is None:
        pytest.skip(f"no vLLM to test: {found.reason}. {vllm.INSTALL}")
    spec = TrainSpec.model_validate({"method": method, "learning_rate": 1e-2, "max_steps": 2, "batch_size": 2})
    trained = METHODS[spec.method](job(small_model, spec), no_scorer, Silent())[0]
    store = judged_store.build(tmp_path / "reports", small_model, trained)
    folder, port = store.find("clock"), str(free_port())
    command = [sys.executable, "-m", "harness", "serve", "clock", "--port", port, "--reports", str(store.root)]
    interruptible = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731  a shell's & ignores it
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              preexec_fn=interruptible)  # fmt: skip
    try:
        told = until_curl(server)
        assert told[0] == f"parity: {len(ITEMS)} of {len(ITEMS)} judged questions answered as they were judged"
        assert ("as in the process that trained it" in told[1]) == (method == "lora")
        said = json.loads(subprocess.run(["bash", "-c", told[-1]], capture_output=True, check=True).stdout)
        (run,) = folder.runs()
        first = folder.samples(run.id)[0]
        assert evaluate.parsed(PROMPT, said["choices"][0]["message"]["content"])[1] == first.answer
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=120)
        assert server.returncode == 0
    finally:
        server.kill()
    deadline = time.monotonic() + 60
    while (left := alive(f"--port\0{port}")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []


def until_curl(server: subprocess.Popen[str]) -> list[str]:
    """The lines of a server up to the one to be run."""
    told: list[str] = []
    for line in server.stdout or ():
        told.append(line.rstrip("\n"))
        if line.startswith("curl"):
            return told
    pytest.fail(server.communicate()[1])
