"""report.md and report.html."""

from __future__ import annotations

import html
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sample_store import HOSTILE, build

from harness import evidence as ev
from harness import leaderboard
from harness.leaderboard import charts
from harness.report import svg, write_reports
from harness.store import Store

NAMES = ("tickets", "intents", "summary", "faq", "orders", "half", "routing", "claims", "spent")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = build(tmp_path_factory.mktemp("reports"))
    for name in NAMES:
        write_reports(made.find(name))
    return made


def text(store: Store, name: str, kind: str) -> str:
    return (store.find(name).path / f"report.{kind}").read_text(encoding="utf-8")


class Page(HTMLParser):
    """What a browser would build: the elements, and what they point to."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.pointers: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.pointers += [name for name, _ in attrs if name in ("src", "href", "srcset") or name.startswith("on")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["md", "html"])
def test_a_report_is_the_same_bytes_when_nothing_changed(store: Store, name: str, kind: str) -> None:
    before = text(store, name, kind)
    os.utime(store.find(name).path / "spec.yaml")
    write_reports(store.find(name))
    assert text(store, name, kind) == before


@pytest.mark.parametrize("name", NAMES)
def test_html_runs_nothing_and_loads_nothing(store: Store, name: str) -> None:
    page = Page(text(store, name, "html"))
    assert not {"script", "img", "iframe", "link", "object"} & set(page.tags)
    assert page.pointers == []
    assert "url(" not in text(store, name, "html")


def test_model_output_is_inert_text_in_html(store: Store) -> None:
    source = text(store, "tickets", "html")
    assert "&lt;script&gt;window.pwned=1&lt;/script&gt;" in source
    assert "<script" not in source


def test_model_output_cannot_leave_its_fence_in_markdown(store: Store) -> None:
    source = text(store, "tickets", "md")
    assert f"````text\n{HOSTILE}\n````" in source
    outside = re.sub(r"^(`{3,})text\n.*?\n\1$", "", source, flags=re.S | re.M)
    assert "<script" not in outside
    assert "](" not in outside


@pytest.mark.parametrize("kind", ["md", "html"])
def test_the_verdict_stands_first(store: Store, kind: str) -> None:
    body = text(store, "intents", kind).rpartition("</style>")[2]
    assert body.index("beats the best prompt on the task: +26.2 points") < body.index("Contestants")
    assert "Reject" in body


def test_every_estimate_in_markdown_has_interval_n_and_method(store: Store) -> None:
    row = next(line for line in text(store, "tickets", "md").splitlines() if line.startswith("| tuned-seed0"))
    assert re.search(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\], n = 120, wilson \|", row)
    assert re.search(r"\+\d+\.\d points \[\+\d+\.\d, \+\d+\.\d\], n = 120, paired-normal \|", row)


def test_outcomes_differ_by_shape_and_not_only_by_colour(store: Store) -> None:
    promote, reject, open_ = (text(store, name, "html") for name in ("tickets", "intents", "summary"))
    assert '<circle class="mark pass"' in promote
    assert '<rect class="mark fail"' in reject
    assert '<polygon class="mark inconclusive"' in open_


@pytest.mark.parametrize("name", NAMES)
def test_the_report_and_the_app_draw_the_same_gates_with_the_same_numbers_and_colours(store: Store, name: str) -> None:
    experiment = store.find(name)
    numbers = ["delta", "low", "high", "margin"]
    shown = charts.drawable(leaderboard.gates(experiment))
    scaled = shown[numbers].mul(shown["scale"], axis=0)
    in_app = dict(zip(zip(shown["gate"], shown["candidate"], strict=True), scaled.to_numpy().tolist(), strict=True))
    drawn = [gate for group in ev.drawable(ev.gather(experiment).gates).values() for gate in group]
    assert {(ev.gate_name(gate), gate.candidate): list(svg.gate_points(gate)) for gate in drawn} == {
        key: pytest.approx(values) for key, values in in_app.items()
    }
    sheet = (Path(svg.__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
    assert all(f"--{outcome}: {color}" in sheet for outcome, color in charts.COLORS.items())


def test_what_is_missing_is_said_and_not_made_up(store: Store) -> None:
    for kind in ("md", "html"):
        assert "Not there yet: prompt search, training, verdict." in text(store, "half", kind)
        assert "Not there yet" not in text(store, "faq", kind)
        assert ">Gates<" not in text(store, "half", kind)


def test_without_training_there_is_no_learning_curve(store: Store) -> None:
    assert "Training loss by optimizer step" not in text(store, "faq", "html")
    assert "Training loss by optimizer step" in text(store, "tickets", "html")


def test_learning_curves_show_dev_for_every_seed_and_mark_the_checkpoint_that_came_out(store: Store) -> None:
    page = text(store, "tickets", "html")
    for title in ("Training loss", "Score on dev", "Loss on dev"):
        assert f'aria-label="{title} by optimizer step"' in page
    assert "<title>seed 0, chosen: step 20, 0.520</title>" in page
    table = text(store, "tickets", "md")
    assert "| step | seed 0: training loss | loss on dev | score on dev | n |" in table
    assert re.search(r"\| 20 \| \d\.\d{3} \| 1\.100 \| 0\.520 \(chosen\) \| 60 \|", table)
    assert "seed 0 on dev: best on dev at step 20 of 40: 0.520, n = 60; looks at dev took 10 % of the time" in table


def test_every_contestant_stands_side_by_side_with_what_its_prompt_is(store: Store) -> None:
    for kind in ("md", "html"):
        page = text(store, "orders", kind)
        for name in ("base", "few_shot", "cot", "rag", "majority", "best_prompt", "tuned-seed0+best_prompt"):
            assert name.replace("_", r"_") in page
        for what in ("found in documents", "reasons first", "one of 3 choices"):
            assert what in page


def test_the_search_shows_origins_the_proposer_and_how_good_it_was_when(store: Store) -> None:
    page = text(store, "orders", "html")
    assert "<td>crossed</td>" in page
    assert "a-model at https://proposer.invalid/v1" in page
    assert "<title>8 calls: labels+2, 0.750</title>" in page


@pytest.mark.parametrize("kind", ["md", "html"])
def test_a_report_tells_how_to_run_it_again(store: Store, kind: str) -> None:
    assert f"harness run reports/{store.find('tickets').id}/spec.yaml" in text(store, "tickets", kind)


def test_lost_samples_of_a_failed_gate_are_shown(store: Store) -> None:
    assert "Flipped samples: regression-core, tuned-seed0 against base" in text(store, "intents", "md")
    assert "<summary>lost: regression-core-a / test-" in text(store, "intents", "md")


def test_a_store_made_twice_has_the_same_reports(store: Store, tmp_path: Path) -> None:
    again = build(tmp_path)
    write_reports(again.find("tickets"))
    assert text(again, "tickets", "html") == text(store, "tickets", "html")


def test_an_experiment_with_nothing_but_its_spec_has_a_report(tmp_path: Path) -> None:
    bare = Store(tmp_path).create("bare--22222222", "name: bare\n")
    write_reports(bare)
    assert "there is no provenance" in (bare.path / "report.md").read_text()


@pytest.mark.parametrize("kind", ["md", "html"])
def test_every_gate_is_told_with_its_demand_its_ends_and_its_margin(store: Store, kind: str) -> None:
    body = html.unescape(text(store, "claims", kind)).replace("\\", "")
    for demand, found, margin in (
        ("gain of at least 5 points over best_prompt", "+14.2 points [+4.2, +24.1]", "+5.0 points"),
        ("latency_p95_s at most 0.3 s", "0.340 s [0.300, 0.420]", "at most 0.3 s"),
        ("latency_mean_s at most 0.02 s higher than base's", "+0.050 s [+0.050, +0.050]", "+0.020 s"),
        ("every item of critical.jsonl right", "3 broken", "none broken"),
    ):
        place = body.index(found, body.index(demand))
        assert body.index(margin, place) < place + 400


def test_gates_of_different_units_share_no_axis(store: Store) -> None:
    figures = re.findall(r"<svg.*?</svg>", text(store, "claims", "html"), flags=re.S)
    plots = [figure for figure in figures if "candidate minus reference" in figure]
    assert [("latency" in plot, "task vs best_prompt" in plot) for plot in plots] == [(False, True), (True, False)]
    assert "at most 0.3" not in "".join(plots)


@pytest.mark.parametrize("kind", ["md", "html"])
def test_a_gate_on_the_worst_slice_lists_every_slice_worst_first(store: Store, kind: str) -> None:
    body = text(store, "claims", kind)
    body = body[body.index("worst of language", body.index("none broken")) :]
    assert body.index("language=de") < body.index("language=en") < body.index("language=fr")


@pytest.mark.parametrize("kind", ["md", "html"])
def test_a_broken_item_stands_with_question_gold_and_answer(store: Store, kind: str) -> None:
    body = html.unescape(text(store, "claims", kind))
    body = body[body.index("Broken items of critical.jsonl") :]
    places = [body.index(told) for told in ("test-6", "Message 6: please help me", HOSTILE)]
    assert places == sorted(places)


def test_flips_behind_a_slice_are_of_that_slice_alone(store: Store) -> None:
    body = text(store, "claims", "md")
    section = body[body.index("## Flipped samples: task, language=de, tuned-seed0 against best_prompt") :]
    lost = re.search(r"Won (\d+), lost (\d+)\.", section)
    assert lost
    assert (lost[1], lost[2]) == ("0", "11")


@pytest.mark.parametrize("kind", ["md", "html"])
def test_every_finalist_is_listed_with_its_look_and_its_own_gates(store: Store, kind: str) -> None:
    body = text(store, "claims", kind)
    assert "Gates of tuned-seed1" in body
    assert "2 of 5" in body[body.index("Finalists") :]
    assert "1.25 %" in body[body.index("Finalists") :]


@pytest.mark.parametrize("kind", ["md", "html"])
def test_the_verdict_says_what_it_stands_on(store: Store, kind: str) -> None:
    body = text(store, "routing", kind)
    for told in (
        "over 3 seeds and the seeds yet to come",
        "look 2 of 5",
        "Holm over 4 gates at 2.5 %",
        "decided after 48 of 100 items (betting)",
    ):
        assert told in body[body.index("What the verdict stands on") :]


@pytest.mark.parametrize("kind", ["md", "html"])
def test_records_of_version_1_still_make_a_report(tmp_path: Path, kind: str) -> None:
    shutil.copytree(Path(__file__).parent / "stored", tmp_path / "reports")
    old = Store(tmp_path / "reports")
    write_reports(old.find("version-one"))
    body = html.unescape(text(old, "version-one", kind)).replace("\\", "")
    assert "beats the best prompt on the task: +41.7 points [+12.5, +70.8] (95 % interval, n = 12" in body
    assert "may lose at most 5 points against base" in body
    assert "Finalists" not in body
