"""The Streamlit app, run without a browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sample_records import samples, write_run
from sample_store import HOSTILE, Case, begin, build

from harness import leaderboard as frames
from harness.cli import main
from harness.records import (
    AdapterRef,
    ForgettingRecord,
    Forgotten,
    Interval,
    SweepRecord,
    TrialRecord,
    VerdictRecord,
)
from harness.store import Store
from harness.ui import diff, markup, places

with warnings.catch_warnings():
    # What Streamlit's own imports deprecate is not ours to answer for.
    warnings.simplefilter("ignore")
    AppTest = pytest.importorskip("streamlit.testing.v1", reason="needs the extra [ui]").AppTest

APP = Path(__file__).parent.parent / "app.py"
PAGES = """
import streamlit as st
from harness.ui import diff, places

st.navigation([places.page(name) for name in places.PLACES], position="hidden").run()
"""
Open = Callable[..., Any]
OWN_WORDS = {"harness", "python", "created", "source", "licence", "notes"}
"""Facts that say what they are."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build(tmp_path_factory.mktemp("reports"))


def _read_all(patch: pytest.MonkeyPatch) -> None:
    """Read the store before the first page, and have each page wait for its own look, however slow this machine is."""
    from harness.ui import board
    from harness.ui.shared import index_of

    for name in ("AT_ONCE", "AGAIN"):
        patch.setattr(board, name, 60.0)
    index_of(str(Store().root)).refresh()


@pytest.fixture
def open_app(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Open:
    def start(root: Path, **query: str) -> Any:
        monkeypatch.setenv("HARNESS_REPORTS", str(root))
        monkeypatch.setenv("HARNESS_HOME", str(tmp_path_factory.getbasetemp() / "home"))
        _read_all(monkeypatch)
        app = AppTest.from_file(str(APP), default_timeout=60)
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception
        return app

    return start


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Open:
    """A page by its address, opened as if it were the first one."""

    def start(root: Path, name: str, **query: str) -> Any:
        monkeypatch.setenv("HARNESS_REPORTS", str(root))
        monkeypatch.setenv("HARNESS_HOME", str(tmp_path_factory.getbasetemp() / "home"))
        monkeypatch.setattr(places, "HOME", name)
        _read_all(monkeypatch)
        app = AppTest.from_string(PAGES, default_timeout=60)
        for key, value in query.items():
            app.query_params[key] = value
        app.run()
        assert not app.exception
        return app

    return start


def said(app: Any) -> str:
    """All text of a page, without the escapes of markdown."""
    parts = [*app.title, *app.markdown, *app.caption, *app.text, *app.info, *app.error, *app.warning, *app.html]
    return html.unescape("\n".join(str(part.value) for part in parts).replace("\\", ""))


def tables(app: Any) -> list[list[str]]:
    """The candidates' names in each of the page's own tables."""
    return [found for part in app.html if (found := re.findall(r'<th scope="row"[^>]*>([^<]*)<', part.value))]


def test_the_default_columns_fit_a_screen_of_1280_px_where_all_of_them_are_filled() -> None:
    inside, rem = 1168, 15  # pixels within a card, and a rem of the theme
    assert markup.WHO + sum(markup.COLUMNS[key].width for key in markup.SHOWN) <= inside / rem


def test_the_leaderboard_answers_the_five_questions_of_every_judged_experiment(open_app: Open, store: Store) -> None:
    page = said(open_app(store.root))
    assert page.count("What it cost") == 7
    for answer in ("+45.0 points", "[+36.1, +53.9]", "regression-core", "3 min of training", "look 6 of 5"):
        assert answer in page
    for verdict in ("Prompt suffices: the best prompt scores", "◆</span> Not shown"):
        assert verdict in page


def test_an_experiment_that_has_only_just_begun_stands_on_the_leaderboard(open_app: Open, tmp_path: Path) -> None:
    store = build(tmp_path / "reports")
    begun = store.create("begun--00000000", "{name: begun, hypothesis: It gains., model: m}")
    app = open_app(store.root)
    assert "Unfinished: there is no" in said(app)
    assert open_app(store.root, experiment=begun.id).title[0].value == "begun"


def test_every_drawing_brings_its_stylesheet_so_that_none_is_painted_bare(open_page: Open, store: Store) -> None:
    for name in ("leaderboard", "compare"):
        drawings = [part.value for part in open_page(store.root, name).html if "hx" in part.value]
        assert drawings
        assert all(one.startswith("<style>") and ".hx .pass" in one.partition("</style>")[0] for one in drawings)


def test_row_zero_of_every_table_is_the_raw_base_and_the_last_page_has_the_oldest(open_app: Open, store: Store) -> None:
    first, second = tables(open_app(store.root)), tables(open_app(store.root, page="2"))
    assert (len(first), len(second)) == (8, 1)
    assert all(table[0] == "base" for table in (*first, *second))
    assert first[0] == ["base", "best_prompt", "tuned-seed0", "tuned-seed1", "majority"]


def test_verdicts_order_columns_and_view_come_from_the_address(open_app: Open, store: Store) -> None:
    app = open_app(store.root, verdict="Reject", order="Name", columns="score")
    assert tables(app) == [tables(app)[0], ["base", "best_prompt", "tuned-seed0", "majority"]]
    assert "p50 / p95 s" not in said(app)
    frame = open_app(store.root, view="Candidates", verdict="Reject").dataframe[0].value
    assert set(frame["name"]) == {"claims-lora", "intents-lora"}


def test_a_name_with_markup_in_it_stays_text(open_app: Open, tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = begin(store, Case("x", "reject", "", {"<b>base": 0.5}, {}, n=10))
    write_run(folder, "task", "<b>base", samples("task", "<b>base", 0.5, 10))
    app = open_app(tmp_path)
    assert tables(app)[0][0] == "&lt;b&gt;base"


def test_damaged_folders_are_listed_with_the_reason(open_app: Open, store: Store) -> None:
    page = said(open_app(store.root))
    assert "notes: no spec.yaml: not an experiment" in page
    assert "not a VerdictRecord" in page


def test_the_search_keeps_what_fits(open_app: Open, store: Store) -> None:
    app = open_app(store.root)
    app.text_input(key="q").set_value("INTENTS").run()
    assert len(tables(app)) == 1
    assert "+26.2 points" in said(app)


def test_the_search_comes_from_the_address(open_app: Open, store: Store) -> None:
    page = said(open_app(store.root, q="faq"))
    assert "Prompt suffices:" in page
    assert "What it cost" not in page


def test_an_empty_store_shows_how_to_make_the_first_experiment(open_app: Open, tmp_path: Path) -> None:
    app = open_app(tmp_path / "none")
    assert app.code[0].value == "harness run suites/tickets/experiment.yaml"


@pytest.mark.parametrize(
    "name", ["tickets", "intents", "summary", "faq", "orders", "half", "routing", "claims", "spent"]
)
def test_every_experiment_has_a_page_with_the_verdict_first(open_app: Open, store: Store, name: str) -> None:
    experiment = store.find(name)
    app = open_app(store.root, experiment=experiment.id)
    assert app.title[0].value.replace("\\", "") == experiment.name
    assert "Beat the best prompt?" in app.html[0].value


def test_what_broke_is_told_on_top(open_app: Open, store: Store) -> None:
    app = open_app(store.root, experiment=store.find("intents").id)
    assert "What it broke</dt><dd>regression-core<" in app.html[0].value


def test_what_a_fact_means_is_told_to_who_rests_on_it(open_app: Open, store: Store) -> None:
    page = "".join(part.value for part in open_app(store.root, experiment=store.find("routing").id).html)
    assert '<th scope="row" title="What a promotion speaks of: this adapter' in page
    named = set(re.findall(r'<th scope="row"( title="[^"]+")?>([^<]+)</th><td>', page))
    assert [what for told, what in named if not told and what not in OWN_WORDS] == []


def shown(app: Any) -> str:
    """The page's own HTML, unescaped; nothing of it may reach a place that reads markup."""
    return html.unescape("\n".join(part.value for part in app.html))


def test_a_models_answer_is_shown_as_it_is_and_never_as_markup(open_page: Open, store: Store) -> None:
    app = open_page(store.root, "compare", experiment=store.find("tickets").id, text="window.pwned", show="all")
    assert html.escape("<script>") in "".join(part.value for part in app.html)
    assert "<script>" not in "".join(part.value for part in app.html)
    assert not any("pwned" in str(part.value) for part in [*app.markdown, *app.caption, *app.text])


def test_reasoning_what_was_looked_up_and_every_turn_are_shown(open_page: Open, store: Store) -> None:
    query = {"experiment": store.find("orders").id, "candidate": "cot", "reference": "rag", "show": "all"}
    app = open_page(store.root, "compare", **query)
    assert "A card?" in shown(app)
    assert "faq.md#1, cards.md#0" in shown(app)
    assert not any("pwned" in str(part.value) for part in [*app.markdown, *app.caption, *app.text])


def test_samples_of_another_suite_pair_and_experiment_can_be_chosen(open_page: Open, store: Store) -> None:
    query = {"suite": "regression-core", "reference": "base", "show": "all"}
    app = open_page(store.root, "compare", experiment=store.find("intents").id, **query)
    assert "regression-core-a / test-" in said(app)
    other = {"candidate": "tuned-seed0", "against": store.find("tickets").id, "reference": "tuned-seed0"}
    app = open_page(store.root, "compare", experiment=store.find("intents").id, show="all", **other)
    assert "tuned-seed0: exact_match" in shown(app)
    assert "of 80" in said(app)


def test_next_and_previous_walk_through_the_samples(open_page: Open, store: Store) -> None:
    app = open_page(store.root, "compare", experiment=store.find("claims").id, show="all")
    assert "Sample 1 of 120" in said(app)
    assert app.button(key="previous").disabled
    app.button(key="next").click().run()
    assert "Sample 2 of 120" in said(app)
    app.segmented_control(key="show").set_value("lost").run()
    assert "Sample 1 of" in said(app)


def test_what_only_one_answer_says_is_marked() -> None:
    marked = diff.marked("refund <now> please", "refund please", "ours")
    assert re.sub("</?mark[^>]*>", "", marked) == "refund &lt;now&gt; please"
    assert 'class="ours"' in marked
    assert "<mark" not in diff.marked("the same", "the same", "ours")
    assert "<mark" not in diff.marked("word " * 3000, "other " * 3000, "ours")


def test_votes_are_cast_blind_and_told_as_a_win_rate(open_page: Open, store: Store) -> None:
    folder = store.find("claims")
    app = open_page(store.root, "review", experiment=folder.id, candidate="tuned-seed0", reference="best_prompt")
    assert "Give your name" in said(app)
    app.text_input(key="reviewer").set_value("ann").run()
    for choice in ("a", "b", "tie", "both_bad"):
        assert "tuned-seed0" not in shown(app)
        app.button(key=f"vote-{choice}").click().run()
        assert not app.exception
    votes = folder.votes()
    assert [vote.choice for vote in votes] == ["a", "b", "tie", "both_bad"]
    assert len({vote.id for vote in votes}) == 4
    app.button(key="back").click().run()
    app.button(key="vote-a").click().run()
    assert [vote.id for vote in folder.votes()][-1] == votes[-1].id


def test_the_audit_is_shown_with_the_answers_balance(open_page: Open, store: Store) -> None:
    app = open_page(store.root, "data", experiment=store.find("tickets").id)
    assert "same as line 4; drop one." in said(app)
    assert [list(frame.value["split"]) for frame in app.dataframe if "split" in frame.value.columns] == [
        ["train", "dev", "test"]
    ]
    assert len(app.get("vega_lite_chart")) == 2  # balance and lengths
    app = open_page(store.root, "data", experiment=store.find("half-done").id)
    assert "The audit found nothing." in said(app)
    assert len(app.get("vega_lite_chart")) == 1  # nothing was trained yet


def test_what_logs_say_of_production_is_shown_look_by_look(open_page: Open, store: Store, tmp_path: Path) -> None:
    root = tmp_path / "reports"
    shutil.copytree(store.root, root)
    log = tmp_path / "log.jsonl"
    asked = [
        {"id": f"r{day}", "time": 1_790_000_000 + day * 86_400, "prompt": f"Where is card {day}?", "answer": "card"}
        for day in range(20)
    ]
    log.write_text("".join(json.dumps(one) + "\n" for one in asked))
    with pytest.raises(SystemExit):
        main(["monitor", "--logs", str(log), "--reports", str(root), "--against", "tickets-lora"])
    app = open_page(root, "production")
    assert list(app.dataframe[0].value["requests"]) == [20]
    assert "At 1 the alarm is raised." in said(app)


def test_where_nothing_is_in_production_the_page_says_so(open_page: Open, store: Store) -> None:
    assert "Nothing is in production" in said(open_page(store.root, "production"))


def test_a_damaged_experiment_is_told_without_a_stack_trace(open_app: Open, store: Store) -> None:
    app = open_app(store.root, experiment="torn--00000000")
    assert "cannot be read" in app.error[0].value


def test_an_unknown_experiment_is_told(open_app: Open, store: Store) -> None:
    assert "There is no experiment" in open_app(store.root, experiment="../../etc").error[0].value


def test_the_page_of_a_finalist_shows_its_gates_its_slices_and_what_it_broke(open_app: Open, store: Store) -> None:
    app = open_app(store.root, experiment=store.find("claims").id)
    page = said(app)
    assert "**must not break critical.jsonl**: 3 broken" in page
    assert HOSTILE in [code.value for code in app.code]
    judged = [gate for gate in verdict_of(store, "claims").gates if gate.candidate == "tuned-seed0"]
    assert gate_rows(app) == len(judged)
    slices = next(frame.value for frame in app.dataframe if "slice" in frame.value.columns)
    assert list(slices["slice"]) == ["language=de", "language=en", "language=fr"]
    app.segmented_control(key="finalist").set_value("tuned-seed1").run()
    assert "**must not break critical.jsonl**" not in said(app)
    assert gate_rows(app) == sum(gate.candidate == "tuned-seed1" for gate in verdict_of(store, "claims").gates)


def verdict_of(store: Store, name: str) -> VerdictRecord:
    found = store.find(name).read(VerdictRecord)
    assert found is not None
    return found


def gate_rows(app: Any) -> int:
    """Rows of the table of gates."""
    (table,) = [part.value for part in app.html if "Every gate in words and numbers" in part.value]
    return int(table.count("<tr>")) - 1


def test_a_sweep_is_shown_trial_by_trial_with_what_each_forgot(open_app: Open, tmp_path: Path) -> None:
    experiment = build(tmp_path).find("tickets")
    trials = [
        TrialRecord(number=0, fields={"rank": 8}, score=0.5, state="complete", steps=40, adapter=adapter("a")),
        TrialRecord(number=1, fields={"rank": 64}, score=0.7, state="complete", steps=40, adapter=adapter("b")),
        TrialRecord(number=2, fields={"rank": 128}, score=None, state="failed", reason="out of memory"),
    ]
    experiment.write(SweepRecord(fields={"rank": [8, 64, 128]}, trials=tuple(trials), best={"rank": 64}, seconds=1.0))
    experiment.write(ForgettingRecord(texts="t", adapters=(forgotten("a", 0.1), forgotten("b", 0.4))))
    shown = frames.trials(experiment)
    assert list(shown["fields"]) == ["rank 8", "rank 64 (taken)", "rank 128"]
    assert shown["kl_value"].dropna().to_list() == [0.1, 0.4]
    app = open_app(experiment.path.parent, experiment=experiment.id)
    (table,) = [part.value for part in app.html if "Trials of the sweep" in part.value]
    assert "rank 64 (taken)" in table
    assert "out of memory" in table


def adapter(sign: str) -> AdapterRef:
    return AdapterRef(digest=sign * 64, method="lora", seed=0)


def forgotten(sign: str, kl: float) -> Forgotten:
    measured = Interval(value=kl, low=kl / 2, high=kl * 2, n=30, method="t+bca", confidence=0.95)
    return Forgotten(candidate=sign, adapter=sign * 64, text=measured, base_text=1.0, kl=measured)


def test_samples_can_be_cut_to_a_slice(open_page: Open, store: Store) -> None:
    app = open_page(store.root, "compare", experiment=store.find("claims").id)
    assert "all 120" in said(app)
    app.selectbox(key="slice").set_value("language=de").run()
    assert "flipped 11 · won 0 · lost 11 · tied 19 · unscored 0 · all 30" in said(app)


def test_records_of_version_1_have_a_page(open_app: Open) -> None:
    app = open_app(Path(__file__).parent / "stored", experiment="version-one--c619fc68")
    assert "Reject: this adapter (tuned-seed0) beats the best prompt" in said(app)


def test_a_password_in_the_secrets_keeps_the_pages_closed_until_it_is_given(
    monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    monkeypatch.setenv("HARNESS_REPORTS", str(store.root))
    app = AppTest.from_file(str(APP), default_timeout=60)
    app.secrets["password"] = "open sesame"
    app.run()
    assert tables(app) == []
    app.text_input[0].set_value("wrong")
    app.button[0].click().run()
    assert app.error[0].value == "That is not the password."
    assert tables(app) == []
    app.text_input[0].set_value("open sesame")
    app.button[0].click().run()
    assert not app.exception
    assert app.title[0].value == "Leaderboard"


def test_a_sign_in_that_the_secrets_ask_for_keeps_the_pages_closed(
    monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    monkeypatch.setenv("HARNESS_REPORTS", str(store.root))
    app = AppTest.from_file(str(APP), default_timeout=60)
    app.secrets["auth"] = {"client_id": "a", "client_secret": "b", "cookie_secret": "c"}
    app.run()
    assert [button.label for button in app.button] == ["Sign in"]
    assert tables(app) == []


def test_secrets_that_cannot_be_read_let_nobody_in(
    monkeypatch: pytest.MonkeyPatch, store: Store, tmp_path: Path
) -> None:
    secrets = tmp_path / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir()
    secrets.write_text("password = ")
    monkeypatch.setenv("HARNESS_REPORTS", str(store.root))
    monkeypatch.chdir(tmp_path)
    app = AppTest.from_file(str(APP), default_timeout=60).run()
    assert "cannot be read" in app.error[0].value
    assert tables(app) == []


@pytest.mark.parametrize(
    ("kind", "question"), [("gate", "Better than the reference?"), ("experiment", "Beat the best prompt?")]
)
def test_a_card_asks_what_was_asked(kind: str, question: str) -> None:
    told = dict.fromkeys([name for name, *_ in markup.QUESTIONS], "No")
    card = markup.five({"kind": kind, **told, **{f"{name}_told": "so" for name in told}})
    assert question in card
