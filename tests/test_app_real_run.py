"""The app in a real Chromium on what a real run left: searched, trained, served, judged; nothing made by hand."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from app_in_browser import Tab, opened, playwright, press, served, wait_for_names
from small_training import tiny

from harness import pipeline
from harness.progress import Silent
from harness.spec import load
from harness.store import ExperimentStore, Store

pytestmark = pytest.mark.browser
ANSWERS = {"a": "<script>window.pwned=1</script>", "b": "<b id=bold>blue</b>", "c": "![x](http://x.example/x.png)"}
"""What the model learns to answer: markup that must not run, load or look like any."""
COUNTS = {"train": 96, "dev": 30, "test": 45}


def rows(split: str) -> Iterator[str]:
    """Questions among whose digits a letter stands, and the answer that goes with the letter."""
    dice = random.Random(split)
    for at in range(COUNTS[split]):
        sign = "abc"[at % 3]
        asked = f"{dice.randrange(10**4)} {sign * 3} {dice.randrange(10**4)}"
        yield json.dumps({"prompt": asked, "completion": ANSWERS[sign], "slices": {"letter": sign}}) + "\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One experiment from its spec to its verdict, by the pipeline."""
    folder = tmp_path_factory.mktemp("experiment")
    for split in COUNTS:
        (folder / f"{split}.jsonl").write_text("".join(rows(split)), encoding="utf-8")
    spec = {
        "name": "hostile",
        "hypothesis": "A LoRA learns what no prompt can tell a model that knows nothing.",
        "model": str(tiny(tmp_path_factory.mktemp("tiny")).path),
        "data": {split: f"{split}.jsonl" for split in COUNTS} | {"audit": {"rules": {"leak_near": "warn"}}},
        "task": {"metric": "exact_match", "max_tokens": 40, "instruction": "Answer."},
        "prompt": {
            "budget": 60,
            "shots": [0, 2],
            "draws": 1,
            "reasoning": False,
            "contestants": [],
            "constrain": "never",
            "with_tuned": False,
        },
        "train": {"rank": 8, "batch_size": 8, "epochs": 12, "learning_rate": 0.015, "select": {"every": 36}},
        "serve": {"engine": "transformers"},
        "forgetting": False,
        "suites": [],
        "gates": [{"suite": "task", "against": "best_prompt", "min_delta": 0.2}],
        "budget": {"gpu_hour_price": 2.0, "currency": "USD"},
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    made = Store(folder / "reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_HOME", str(folder / "home"))
        assert pipeline.run(load(path), made, Silent()).decision == "promote"
    return made


@pytest.fixture(scope="module")
def folder(store: Store) -> ExperimentStore:
    return store.find("hostile")


@pytest.fixture(scope="module")
def address(store: Store) -> Iterator[str]:
    with served(store, "streamlit") as there:
        yield there


@pytest.fixture
def tab() -> Iterator[Tab]:
    with opened() as one:
        yield one


def test_a_reader_is_led_from_the_leaderboard_through_every_page(
    tab: Tab, address: str, folder: ExperimentStore, tmp_path: Path
) -> None:
    page = tab.page
    page.goto(address)
    page.get_by_test_id("stButtonGroup").get_by_role("button", name="Promote").click()
    wait_for_names(page, ["hostile"])
    page.wait_for_url(f"{address}/?verdict=Promote")
    page.get_by_text("Yes", exact=False).first.wait_for()
    tab.picture(tmp_path / "leaderboard.png")
    page.get_by_role("link", name="hostile").click()
    page.get_by_text("every blocking gate passed").wait_for()
    page.wait_for_url(f"{address}/experiment?experiment={folder.id}")
    page.get_by_role("tab", name="Training").click()
    page.get_by_text("optimizer step").first.wait_for(state="attached")
    page.get_by_role("tab", name="Money").click()
    page.get_by_text("USD").first.wait_for()
    tab.picture(tmp_path / "experiment.png")
    for place, landmark in {
        "Compare": "Sample 1 of",
        "Review": "Your name",
        "Data": "What the audit found",
        "Production": "Nothing is in production",
    }.items():
        page.get_by_role("link", name=place, exact=True).click()
        page.get_by_text(landmark).first.wait_for()
    assert tab.faults == []


def test_what_the_trained_model_answers_is_seen_sliced_and_inert(
    tab: Tab, address: str, folder: ExperimentStore
) -> None:
    page = tab.page
    page.goto(f"{address}/compare?experiment={folder.id}&candidate=tuned-seed0&reference=best_prompt")
    said = page.locator(".hx-said", has_text="tuned-seed0").locator("pre")
    for letter in "ba":  # the first sample of all may be any: only what changes tells that the slice is there
        page.get_by_role("combobox", name="Slice").click()
        page.get_by_role("option", name=f"letter={letter}").click()
        playwright.expect(said).to_have_text(ANSWERS[letter])
    page.get_by_text(re.compile("^Sample 1 of")).wait_for()
    page.get_by_role("heading", name="Compare").click()  # keys that a field has are the field's
    press(page, "ArrowRight")
    page.get_by_text(re.compile("^Sample 2 of")).wait_for()
    assert page.evaluate("window.pwned") is None
    assert page.locator("#bold, img[src*='x.png']").count() == 0
    assert not [url for url in tab.calls if "x.example" in url]
    assert tab.faults == []


def test_people_vote_blind_on_its_answers_and_see_what_it_comes_to(
    tab: Tab, address: str, folder: ExperimentStore
) -> None:
    page = tab.page
    page.goto(f"{address}/review?experiment={folder.id}&candidate=tuned-seed0&reference=best_prompt&reviewer=Ann")
    for done in range(3):
        page.get_by_text(re.compile(f"^{done} of")).wait_for()
        answers = {side: page.locator(".hx-said", has_text=f"Answer {side}").locator("pre") for side in "AB"}
        press(page, next((side for side, one in answers.items() if one.inner_text() in ANSWERS.values()), "T"))
    page.get_by_text(re.compile("^3 of")).wait_for()
    page.get_by_text("What the votes come to").click()
    page.get_by_text("Candidate's win rate").wait_for()
    page.get_by_text("n = 3").wait_for()
    assert {vote.reviewer for vote in folder.votes()} == {"Ann"}
    assert tab.faults == []
