"""Looks at production logs: forms, broken lines, going on, alarms, versions, rows to label, exit codes."""

from __future__ import annotations

import datetime
import gzip
import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sample_store
from sample_records import CREATED

from harness import monitoring
from harness.cli import main
from harness.errors import DataError, UsageError
from harness.monitoring.canary import compare
from harness.monitoring.logs import moment
from harness.monitoring.looking import fresh
from harness.monitoring.requests import Request, read_request
from harness.store import Store

DAY = 86400
START = 1_790_000_000


def row(i: int, question: str = "Where is my card?", answer: str = "card", **more: Any) -> dict[str, Any]:
    return {"id": f"r{i}", "time": START + i * 60, "prompt": question, "answer": answer, **more}


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return str(path)


def quiet(n: int, seed: int, start: int = 0) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [
        row(start + i, "x" * rng.randint(20, 60), "y" * rng.randint(3, 9), latency_s=rng.random()) for i in range(n)
    ]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as leaving:
        main(["monitor", *arguments])
    return int(leaving.value.code or 0)


def looked(store: Path, logs: str, *more: str) -> tuple[int, Any]:
    code = run("--logs", logs, "--reports", str(store), *more)
    return code, Store(store).monitoring.all()[-1]


PAIR = {
    "request": {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
    "response": {
        "id": "c1",
        "created": START,
        "model": "m-2",
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
        "choices": [
            {"message": {"content": "Ho"}, "finish_reason": "stop", "logprobs": {"content": [{"logprob": -2}]}}
        ],
    },
    "latency_ms": 250,
}


def test_an_openai_pair_is_read_with_all_that_it_tells() -> None:
    found = read_request(PAIR, "f:1")
    assert (found.question, found.answer, found.version, found.time) == ("Hi", "Ho", "m-2", START)
    assert (found.latency_s, found.tokens_in, found.logprob, found.error) == (0.25, 3, -2.0, None)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"custom_id": "a", "response": {"status_code": 200, "body": PAIR["response"]}, "error": None}, None),
        ({"custom_id": "a", "response": {"status_code": 500, "body": {}}, "error": None}, "status 500"),
        ({"prompt": "Hi", "error": {"message": "overloaded"}}, "overloaded"),
        ({"request": {"messages": [{"role": "user", "content": "Hi"}]}, "response": None}, "no answer"),
        ({"messages": [{"role": "user", "content": "Hi"}], "choices": [{"message": {"content": "Ho"}}]}, None),
    ],
)
def test_a_failed_call_is_an_error_and_no_empty_answer(given: dict[str, Any], error: str | None) -> None:
    found = read_request(given, "f:1")
    assert (found.error, found.answer) == ((error, None) if error else (None, "Ho"))


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"a": 1}, "no request: keys a"),
        ({"prompt": "x", "answer": "y", "time": "yesterday"}, "time: got 'yesterday'"),
        ({"prompt": "x", "answer": "y", "latency_s": -1}, "latency_s: got -1"),
        ({"prompt": "x", "answer": "y", "score": 7}, "score: got 7"),
        ({"messages": [], "answer": "y"}, "messages: is empty"),
        ({"messages": ["x"], "answer": "y"}, "messages: each turn"),
    ],
)
def test_a_line_that_is_no_request_says_why(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_request(given, "f:1")


def test_broken_lines_are_counted_and_named_with_personal_data_masked(tmp_path: Path) -> None:
    name = write(tmp_path / "a.jsonl", [row(1), '{"prompt": ', "", "[1]", row(2, time="me@example.org")])
    read = monitoring.read_logs([name])
    assert (read.lines, read.broken, len(read.requests)) == (4, 3, 1)
    assert [fault.split(": ")[0] for fault in read.faults] == [f"{name}:{line}" for line in (2, 4, 5)]
    assert "me@example.org" not in "".join(read.faults)


def test_a_packed_log_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = gzip.compress("".join(json.dumps(r) + "\n" for r in quiet(500, 1)).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    read = monitoring.read_logs([str(tmp_path)])
    assert 0 < len(read.requests) < 500
    assert "breaks off" in read.faults[-1]


def test_vllms_own_log_is_read_and_its_other_lines_counted(tmp_path: Path) -> None:
    lines = [
        "(APIServer pid=7) INFO 11-21 10:00:00 [launcher.py:46] Route: /v1/models",
        "INFO 11-21 10:00:01 [request_logger.py:65] Received request cmpl-1: params: Params(n=1), lora_request: None.",
        "DEBUG 11-21 10:00:01 [request_logger.py:55] Request cmpl-1 details: prompt: 'It\\'s me', "
        "prompt_token_ids: [1], prompt_embeds shape: None.",
        "INFO 11-21 10:00:03 [request_logger.py:108] Generated response cmpl-1: output: 'Hello', finish_reason: stop",
        "Traceback (most recent call last):",
    ]
    read = monitoring.read_logs([write(tmp_path / "a.log", lines)])
    (found,) = read.requests
    assert (found.question, found.answer, found.latency_s) == ("It's me", "Hello", 2.0)
    assert (read.other, read.broken) == (3, 1)


@pytest.mark.parametrize(
    ("text", "now", "date"),
    [
        ("11-21 10:00:00", "2026-11-22", "2026-11-21"),
        ("12-31 23:59:59", "2027-01-01", "2026-12-31"),
        ("02-29 10:00:00", "2026-11-22", "2024-02-29"),
        ("02-29 10:00:00", "2104-02-27", "2096-02-29"),
        ("02-30 10:00:00", "2026-11-22", None),
    ],
)
def test_a_log_without_years_speaks_of_the_last_such_day(text: str, now: str, date: str | None) -> None:
    at = moment(text, datetime.datetime.fromisoformat(f"{now}T12:00:00+00:00"))
    assert (None if at is None else str(datetime.datetime.fromtimestamp(at, datetime.UTC).date())) == date


def test_logs_come_from_a_url(tmp_path: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = gzip.compress(b"".join(json.dumps(r).encode() + b"\n" for r in quiet(3, 1)))
            self.send_response(200 if self.path == "/logs?day=1" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        read = monitoring.read_logs([f"http://127.0.0.1:{server.server_port}/logs?day=1"])
        server.shutdown()
    assert len(read.requests) == 3


@pytest.mark.parametrize("lines", [[], ["nonsense"], ['{"a": 1}']])
def test_logs_without_any_request_are_refused_and_nothing_is_written(tmp_path: Path, lines: list[str]) -> None:
    assert run("--logs", write(tmp_path / "a.jsonl", lines), "--reports", str(tmp_path / "store")) == 2
    assert not (tmp_path / "store" / "monitoring.jsonl").exists()


@pytest.mark.parametrize(
    "more", [("--against", "nobody"), ("--policy", "no.yaml"), ("--canary", "v9", "v1"), ("--accept", " ")]
)
def test_what_is_not_there_is_an_error_and_nothing_is_written(tmp_path: Path, more: tuple[str, ...]) -> None:
    assert run("--logs", write(tmp_path / "a.jsonl", quiet(3, 1)), "--reports", str(tmp_path / "store"), *more) == 2
    assert not (tmp_path / "store" / "monitoring.jsonl").exists()


def test_requests_are_counted_once_however_often_the_log_is_given(tmp_path: Path) -> None:
    rows = quiet(60, 1)
    looked(tmp_path, write(tmp_path / "a.jsonl", rows[:40]))
    _, again = looked(tmp_path, write(tmp_path / "a.jsonl", rows))
    assert (again.number, again.count.new, again.count.before) == (2, 20, 40)
    assert next(s.seen for s in again.streams if s.feature == "question_length") == 60
    _, nothing = looked(tmp_path, write(tmp_path / "a.jsonl", rows))
    assert nothing.count.new == 0
    assert nothing.streams == again.streams
    assert nothing.quality.value is None


def test_requests_without_times_are_told_apart_by_content(tmp_path: Path) -> None:
    rows = [{k: v for k, v in r.items() if k != "time"} for r in quiet(10, 1)]
    _, first = looked(tmp_path, write(tmp_path / "a.jsonl", rows[:6]))
    read = monitoring.read_logs([write(tmp_path / "b.jsonl", [*rows, rows[0]])])
    assert len(fresh(read.requests, first)[0]) == 5


def test_requests_of_the_same_instant_are_not_lost_between_two_looks(tmp_path: Path) -> None:
    rows = [{**r, "time": START} for r in quiet(10, 1)]
    _, first = looked(tmp_path, write(tmp_path / "a.jsonl", rows[:6]))
    _, second = looked(tmp_path, write(tmp_path / "a.jsonl", rows[6:]))
    _, third = looked(tmp_path, write(tmp_path / "a.jsonl", rows))
    assert [look.count.new for look in (first, second, third)] == [6, 4, 0]


def test_a_change_raises_an_alarm_that_stays_until_it_is_accepted(tmp_path: Path) -> None:
    code, quiet_look = looked(tmp_path, write(tmp_path / "a.jsonl", quiet(600, 1)))
    assert (code, quiet_look.alarms) == (0, ())
    long = [{**r, "prompt": r["prompt"] * 9} for r in quiet(100, 2, 600)]
    code, alarm = looked(tmp_path, write(tmp_path / "b.jsonl", long))
    assert (code, alarm.alarms, alarm.causes) == (21, ("drift",), ("question_length",))
    more = [{**r, "prompt": r["prompt"] * 9} for r in quiet(100, 3, 700)]
    code, _ = looked(tmp_path, write(tmp_path / "c.jsonl", more))
    assert code == 21
    again = [{**r, "prompt": r["prompt"] * 9} for r in quiet(100, 4, 800)]
    code, accepted = looked(tmp_path, write(tmp_path / "d.jsonl", again), "--accept", "long questions are fine")
    assert (code, accepted.epoch, accepted.alarms) == (0, 1, ())
    after = [{**r, "prompt": r["prompt"] * 9} for r in quiet(100, 5, 900)]
    assert looked(tmp_path, write(tmp_path / "e.jsonl", after))[0] == 0


def test_more_failed_calls_are_an_alarm_of_quality(tmp_path: Path) -> None:
    looked(tmp_path, write(tmp_path / "a.jsonl", quiet(300, 1)))
    failed = [{**r, "answer": None, "error": "timeout"} if i % 3 else r for i, r in enumerate(quiet(150, 2, 300))]
    code, look = looked(tmp_path, write(tmp_path / "b.jsonl", failed))
    assert (code, look.alarms, look.causes) == (20, ("quality",), ("error",))
    assert look.errors.value == pytest.approx(2 / 3)
    assert look.valid.n == 50


def test_the_policy_says_what_is_due_and_age_alone_is_enough(tmp_path: Path) -> None:
    store = sample_store.build(tmp_path / "store").root
    for record in Store(store).find("tickets-lora").path.glob("*.json"):
        record.write_text(record.read_text().replace(CREATED, "2001-01-15T12:00:00Z"))  # old, whatever day it is
    policy = tmp_path / "retrain.yaml"
    policy.write_text("retrain:\n  every: 2w\n  on: drift\n", encoding="utf-8")
    logs = write(tmp_path / "a.jsonl", quiet(3, 1))
    code, look = looked(store, logs, "--against", "tickets-lora", "--policy", str(policy))
    assert (code, look.due, look.against) == (22, ("age",), Store(store).find("tickets-lora").id)
    assert look.form.startswith("one of")


@pytest.mark.parametrize(
    ("text", "fault"), [("every: soon", "every"), ("on: luck", "on"), ("alpha: 0", "alpha"), ("[1]", "policy")]
)
def test_a_wrong_policy_is_refused_by_name(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=fault):
        monitoring.read_policy(tmp_path / "p.yaml")


def test_another_reference_needs_a_reason(tmp_path: Path) -> None:
    store = sample_store.build(tmp_path / "store").root
    logs = write(tmp_path / "a.jsonl", quiet(30, 1))
    of = ("--deployment", "shop", "--against")
    looked(store, logs, *of, "tickets-lora")
    assert run("--logs", logs, "--reports", str(store), *of, "intents-lora") == 2
    assert looked(store, logs, *of, "intents-lora", "--accept", "new model")[1].epoch == 1


def test_labels_are_scored_by_the_tasks_metric_and_missing_ones_are_no_zeros(tmp_path: Path) -> None:
    store = sample_store.build(tmp_path / "store").root
    rows = [
        {**r, "answer": "card", **({"label": "card" if i % 4 else "loan"} if i < 40 else {})}
        for i, r in enumerate(quiet(80, 1))
    ]
    _, look = looked(store, write(tmp_path / "a.jsonl", rows), "--against", "tickets-lora")
    assert (look.quality.value, look.quality.n, look.scored_by) == (0.75, 40, "labels")


class Judge(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that finds every answer good."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": "Right.\nGrade: 4"}
        body = json.dumps({"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_the_experiments_own_judge_grades_as_many_answers_as_are_asked_for(tmp_path: Path) -> None:
    store = sample_store.build(tmp_path / "store")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    spec = store.find("tickets-lora").path / "spec.yaml"
    judge = f"judge: {{url: 'http://127.0.0.1:{server.server_address[1]}/v1', model: a-judge}}\n"
    spec.write_text(spec.read_text() + judge)
    try:
        logs = write(tmp_path / "a.jsonl", quiet(40, 1))
        _, look = looked(store.root, logs, "--against", "tickets-lora", "--judge", "12")
    finally:
        server.shutdown()
        server.server_close()
    assert (look.quality.value, look.quality.n, look.scored_by) == (0.75, 12, "judge a-judge")


def test_versions_that_answered_the_same_questions_are_compared_in_pairs() -> None:
    def request(i: int, version: str, score: float) -> Request:
        return read_request(row(i, f"question {i}", "x", version=version, score=score), "f:1")

    rng = random.Random(0)
    paired = [
        request(i, v, float(rng.random() < (0.9 if v == "new" else 0.5))) for i in range(80) for v in ("new", "old")
    ]
    measures: Any = {"quality": (True, lambda r: r.score)}
    found = compare(paired, "new", "old", measures)
    apart = compare([r for i, r in enumerate(paired) if (i // 2) % 2 == i % 2], "new", "old", measures)
    assert (found.paired, apart.paired) == (80, 0)
    assert found.lines[0].difference.method == "tango"
    assert apart.lines[0].difference.method == "mover-independent"
    assert all(r.lines[0].difference.low is not None and r.lines[0].difference.low > 0 for r in (found, apart))
    assert found.lines[0].p is not None
    assert found.lines[0].p < 0.01


def test_rows_to_label_are_masked_apart_and_wait_for_their_label(tmp_path: Path) -> None:
    store = sample_store.build(tmp_path / "store").root
    asked = [
        "Write to bob@example.org about my loan please",
        "Write to bob@example.org about my loan please!",
        "What is this fee?",
    ]
    rows = [row(i, question, "no label at all") for i, question in enumerate(asked)]
    target = tmp_path / "label.jsonl"
    run(
        "--logs",
        write(tmp_path / "a.jsonl", rows),
        "--reports",
        str(store),
        "--against",
        "tickets-lora",
        "--suggest-rows",
        str(target),
    )
    found = [json.loads(line) for line in target.read_text().splitlines()]
    assert len(found) == 2
    assert "bob@example.org" not in target.read_text()
    assert all(r["messages"][-1] == {"role": "assistant", "content": ""} and "form" in r["why"] for r in found)


def test_rows_are_not_written_over_a_file(tmp_path: Path) -> None:
    kept = write(tmp_path / "a.jsonl", ["mine"])
    with pytest.raises(DataError, match="exists"):
        monitoring.write(Path(kept), [])
    assert Path(kept).read_text() == "mine\n"


def test_json_is_one_document_and_frames_tell_every_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = write(tmp_path / "a.jsonl", quiet(40, 1))
    run("--logs", logs, "--reports", str(tmp_path), "--json")
    document = json.loads(capsys.readouterr().out)
    assert (document["exit_code"], document["count"]["new"]) == (0, 40)
    store = Store(tmp_path)
    frame = monitoring.looks(store)
    assert list(frame.columns) == list(monitoring.LOOK_COLUMNS)
    assert frame["quality"].isna().all()
    assert monitoring.volume(store, "production")["requests"].sum() == 40
    assert len(monitoring.deployments(store)) == 1
    assert set(monitoring.streams(store)["feature"]) == {"question_length", "answer_length", "error", "valid"}


def test_a_torn_last_line_of_the_ledger_is_left_out_and_mended(tmp_path: Path) -> None:
    logs = write(tmp_path / "a.jsonl", quiet(40, 1))
    looked(tmp_path, logs)
    with (tmp_path / "monitoring.jsonl").open("a") as stream:
        stream.write('{"deployment": "prod')
    _, second = looked(tmp_path, logs)
    assert (second.number, len(Store(tmp_path).monitoring.all())) == (2, 2)
