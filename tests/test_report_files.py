"""junit.xml, model_card.md and data_card.md: what CI and the Hugging Face Hub read."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest
from huggingface_hub import DatasetCard, ModelCard
from sample_store import HOSTILE, build

from harness import evidence as ev
from harness.report import write_reports
from harness.report.front import LICENCES, base_model, datasets, licence, size_category
from harness.report.inert import cell, inert
from harness.report.junit import failing
from harness.store import ExperimentStore, Store

FILES = ("report.md", "report.html", "junit.xml", "model_card.md", "data_card.md")
TRAINED = ("tickets", "intents", "summary", "orders", "routing", "claims", "spent")
OTHERS = ("faq", "half")
ODD = "<b>x</b> ![p](http://127.0.0.1:9/p.png) \x1b[31m\x00\u202e ]]>\n---\nlicense: mit"
"""What a spec may hold: markup, a terminal's escapes, a text turned round, the end of a CDATA section, front matter."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = build(tmp_path_factory.mktemp("reports"))
    say(
        made.find("tickets"),
        source="See https://huggingface.co/datasets/acme/tickets-2.1.",
        licence="CC BY 4.0",
        notes=ODD,
    )
    for name in (*TRAINED, *OTHERS):
        write_reports(made.find(name))
    return made


def say(folder: ExperimentStore, **card: str) -> None:
    """Add to what the records tell of the rows."""
    path = folder.path / "data.json"
    told = json.loads(path.read_text())
    told["card"] = {**card, "base model's licence": "Apache-2.0"}
    path.write_text(json.dumps(told))


def model(store: Store, name: str) -> ModelCard:
    return ModelCard.load(store.find(name).path / "model_card.md")


def data(store: Store, name: str) -> DatasetCard:
    return DatasetCard.load(store.find(name).path / "data_card.md")


def suite(folder: ExperimentStore):  # type: ignore[no-untyped-def]
    return xml.parse(folder.path / "junit.xml").getroot().find("testsuite")  # noqa: S314 - just made here


def case(folder: ExperimentStore, name: str):  # type: ignore[no-untyped-def]
    return next(one for one in suite(folder).findall("testcase") if one.get("name") == name)


def test_every_file_is_written_and_a_model_card_only_where_something_was_trained(store: Store) -> None:
    for name in (*TRAINED, *OTHERS):
        there = [file for file in FILES if (store.find(name).path / file).exists()]
        assert there == [file for file in FILES if file != "model_card.md" or name in TRAINED]


def test_every_file_is_the_same_bytes_when_it_is_made_again(store: Store) -> None:
    for name in ("tickets", "claims", "faq", "half"):
        folder = store.find(name)
        before = {path: path.read_bytes() for path in write_reports(folder)}
        assert {path: path.read_bytes() for path in write_reports(folder)} == before


def test_records_of_version_1_have_every_file(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parent / "stored", tmp_path / "reports")
    old = Store(tmp_path / "reports")
    assert [path.name for path in write_reports(old.find("version-one"))] == list(FILES)
    assert model(old, "version-one").data.eval_results
    assert data(old, "version-one").data.size_categories == ["n<1K"]
    assert suite(old.find("version-one")).get("tests") == "3"


# ------------------------------------------------------------------------- junit


@pytest.mark.parametrize("name", [*TRAINED, *OTHERS])
def test_junit_counts_its_cases_one_for_the_verdict_and_one_a_gate(store: Store, name: str) -> None:
    folder = store.find(name)
    found, evidence = suite(folder), ev.gather(folder)
    cases = found.findall("testcase")
    assert len({one.get("name") for one in cases}) == len(cases) == 1 + len(evidence.deciding_gates)
    for counted, path in (("tests", "."), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert found.get(counted) == str(sum(one.find(path) is not None for one in cases))


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("tickets", None), ("claims", "failure"), ("summary", "error"), ("half", "error"), ("faq", "skipped")],
)
def test_junit_is_never_greener_than_the_verdict(store: Store, name: str, outcome: str | None) -> None:
    verdict = case(store.find(name), "verdict")
    assert [part.tag for part in verdict if part.tag != "system-out"] == ([outcome] if outcome else [])
    if outcome:
        assert verdict.find(outcome).get("message") == ev.headline(ev.gather(store.find(name)))


def test_a_failed_gate_is_a_failure_that_names_the_samples_of_its_worst_slice(store: Store) -> None:
    folder = store.find("claims")
    failed = case(folder, "task [worst of language] vs best_prompt").find("failure")
    gate = next(gate for gate in ev.gather(folder).deciding_gates if gate.slices)
    lost = set(re.findall(r"^lost: intents / (\S+)$", failed.text, flags=re.M))
    languages = {sample.id: sample.slices["language"] for sample in folder.samples("tuned-seed0--task--test")}
    assert failed.get("message") == gate.reason
    assert len(lost) == 11
    assert {languages[name] for name in lost} == {"de"}


def test_broken_items_are_named(store: Store) -> None:
    told = case(store.find("claims"), "must not break critical.jsonl").find("failure").text
    assert re.findall(r"^broken: (\S+)$", told, flags=re.M) == ["test-0", "test-5", "test-6"]


def test_a_gate_that_is_inconclusive_or_only_informs_is_skipped_with_its_reason(store: Store) -> None:
    folder = store.find("claims")
    assert case(folder, "task vs best_prompt").find("skipped").get("message").startswith("inconclusive: +0.142")
    assert case(folder, "task latency_mean_s vs base").find("skipped").get("message").startswith("advisory, fail: ")


def test_samples_of_every_seed_and_unscored_ones_are_named(store: Store) -> None:
    folder = store.find("routing")
    recipe = ev.gather(folder)
    gate = recipe.deciding_gates[0].model_copy(update={"rule": "at_least", "limit": 1.0, "comparison": None})
    wrong = [
        f"below ({name}): intents / {sample.id}"
        for name in ("tuned-seed0", "tuned-seed1", "tuned-seed2")
        for sample in folder.samples(f"{name}--task--test")
        if sample.scores["exact_match"] == 0
    ]
    assert failing(folder, recipe, gate) == wrong
    base = ev.gather(store.find("tickets"))
    against_base = base.deciding_gates[1].model_copy(update={"candidate": "base", "comparison": None})
    named = failing(store.find("tickets"), base, against_base)
    assert named == ["unscored: regression-core-a / test-5: the engine died"]


# ------------------------------------------------------------------------- cards


@pytest.mark.parametrize("name", TRAINED)
def test_the_hub_reads_every_number_of_the_model_card_as_it_stands_in_the_runs(store: Store, name: str) -> None:
    card, evidence = model(store, name), ev.gather(store.find(name))
    judged = next(one for one in ev.contestants(evidence) if one.name == ev.judged(evidence))
    told = {(one.dataset_name, one.metric_type): one.metric_value for one in card.data.eval_results}
    runs = {evidence.name if suite == "task" else suite: run for suite, run in judged.runs.items()}
    assert told == {(suite, "exact_match"): ev.suite_score(run).value for suite, run in runs.items()}  # type: ignore[union-attr]
    assert card.data.metrics == ["exact_match"]
    assert all(re.search(r"\[.*\], 95 % interval, n = \d+, wilson", one.metric_name) for one in card.data.eval_results)


def test_a_model_card_names_base_licence_data_and_how_it_is_loaded(store: Store) -> None:
    card = model(store, "tickets").data
    assert (card.base_model, card.base_model_relation) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "adapter")
    assert (card.license, card.library_name, card.datasets) == ("apache-2.0", "peft", ["acme/tickets-2.1"])


def test_that_a_base_model_runs_by_code_of_its_own_is_said_in_card_and_report(tmp_path: Path) -> None:
    folder = build(tmp_path / "reports").find("tickets")
    provenance = json.loads((folder.path / "provenance.json").read_text())
    said = "run by code of its own"
    for trusted in (False, True):
        provenance["model"]["remote_code"] = trusted
        (folder.path / "provenance.json").write_text(json.dumps(provenance))
        write_reports(folder)
        for name in ("model_card.md", "report.md", "report.html"):
            assert (said in (folder.path / name).read_text()) == trusted, name


def test_what_no_record_says_is_left_out_of_the_cards(store: Store) -> None:
    said = model(store, "intents").data.to_dict()
    assert not {"license", "datasets", "language"} & set(said)
    assert not {"license", "language", "task_categories", "source_datasets"} & set(
        data(store, "intents").data.to_dict()
    )
    for card in (model(store, "intents").text, data(store, "intents").text):
        assert "More Information Needed" not in card
    assert "Not said by the experiment: source, licence" in data(store, "intents").text


def test_a_model_card_puts_what_speaks_against_it_where_it_is_seen(store: Store) -> None:
    text = model(store, "claims").text.replace("\\", "")
    assert text.index("Not promoted (Reject)") < text.index("## Model details")
    limits = text[text.index("## Limitations") :]
    for told in ("One item of the base could not be asked.", "must not break critical.jsonl: fail", "look 1 of 5"):
        assert told in limits
    assert "Not promoted" not in model(store, "tickets").text


def test_every_score_in_a_model_card_has_interval_n_and_method(store: Store) -> None:
    rows = re.findall(r"^\| (?:task|regression-core) \| exact_match .*$", model(store, "claims").text, flags=re.M)
    assert len(rows) == 5
    assert all(re.search(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\] \| \d+ \| 95 %, wilson \|$", row) for row in rows)


def test_a_data_card_tells_splits_origin_findings_and_looks(store: Store) -> None:
    card = data(store, "tickets")
    assert (card.data.license, card.data.pretty_name) == ("cc-by-4.0", "tickets-lora")
    assert (card.data.size_categories, card.data.source_datasets) == (["n<1K"], ["acme/tickets-2.1"])
    plain = card.text.replace("\\", "")
    for told in (
        "| test | 120 | test.jsonl | the verdict |",
        "duplicate_exact | 1 | train.jsonl line 17",
        "Look 1 of 5",
    ):
        assert told in plain


def test_text_of_others_is_inert_in_the_cards(store: Store) -> None:
    source = (store.find("tickets").path / "data_card.md").read_text()
    notes = next(line for line in source.splitlines() if "Notes" in line)
    assert r"\<b\>x\</b\> \![p\](http\://127.0.0.1:9/p.png)" in notes
    assert not set("\x1b\x00\u202e") & set(source)
    assert notes.endswith("--- license: mit")
    assert HOSTILE not in re.sub(r"^(`{3,})text\n.*?\n\1$", "", model(store, "tickets").content, flags=re.S | re.M)


def test_a_spec_full_of_markup_still_makes_files_that_parse(tmp_path: Path) -> None:
    folder = build(tmp_path).find("claims")
    for file in ("verdict.json", "data.json"):
        path = folder.path / file
        path.write_text(path.read_text().replace("One item of the base could not be asked.", json.dumps(ODD)[1:-1]))
        path.write_text(path.read_text().replace("3 of 5 blocking gates failed.", json.dumps(ODD)[1:-1]))
    write_reports(folder)
    assert "]]>" in case(folder, "verdict").find("system-out").text
    assert ModelCard.load(folder.path / "model_card.md").data.get("license") is None
    assert "\x1b" not in (folder.path / "report.md").read_text()


# ------------------------------------------------------------------ front matter


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("CC BY-SA 4.0", {"license": "cc-by-sa-4.0"}),
        ("Our terms, v2", {"license": "other", "license_name": "our-terms-v2"}),
        ("unknown", {}),
        (None, {}),
    ],
)
def test_a_licence_is_the_hubs_word_or_a_name_of_its_own(said: str | None, told: dict[str, str]) -> None:
    assert licence(said) == told
    assert told.get("license", "other") in LICENCES | {"other"}


def test_a_base_model_is_named_only_where_it_is_on_the_hub(store: Store) -> None:
    ref = ev.gather(store.find("tickets")).provenance.model  # type: ignore[union-attr]
    hub = ref.model_copy(update={"name": "acme/base-1b", "revision": "0123456789abcdef" * 2 + "01234567"})
    assert base_model(hub) == "acme/base-1b"
    assert base_model(hub.model_copy(update={"revision": None})) is None
    assert base_model(hub.model_copy(update={"name": "openai:gpt-x", "revision": None})) is None


def test_datasets_and_sizes_are_the_hubs_words() -> None:
    text = "(https://huggingface.co/datasets/squad), huggingface.co/datasets/acme/x.y. and /datasets/none"
    assert datasets(text, None) == ["squad", "acme/x.y"]
    assert [size_category(n) for n in (999, 1000, 10**9, 10**12)] == ["n<1K", "1K<n<10K", "1B<n<10B", "n>1T"]


def test_joined_letters_and_emoji_stay_whole_while_hidden_text_shows() -> None:
    assert inert("می‌روم 👩‍💻 « oui »\r\nx") == "می‌روم 👩‍💻 « oui »\nx"
    assert inert("a\u202eb\U000e0041\x07\u2028") == "a\ufffdb\ufffd\ufffd\ufffd"
    assert cell("a\u2028b|c") == r"a b\|c"
