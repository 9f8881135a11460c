"""The app and the report in a real headless Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from app_in_browser import Tab, opened, playwright, press, served, settle, wait_for_names
from sample_store import build

from harness.report import write_reports
from harness.store import Store

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build(tmp_path_factory.mktemp("reports"))


@pytest.fixture(scope="module")
def address(store: Store) -> Iterator[str]:
    with served(store, "harness.ui") as there:
        yield there


@pytest.fixture
def tab() -> Iterator[Tab]:
    with opened() as one:
        yield one


def test_a_reader_goes_from_the_leaderboard_to_the_verdict(
    tab: Tab, address: str, store: Store, tmp_path: Path
) -> None:
    page = tab.page
    page.goto(address)
    page.get_by_text("+45.0 points").first.wait_for()
    tab.picture(tmp_path / "leaderboard.png")
    page.get_by_role("link", name="tickets-lora").click()
    page.get_by_role("heading", name="tickets-lora").wait_for()
    page.get_by_text("every blocking gate passed").wait_for()
    page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg").first.wait_for()
    page.wait_for_url(f"{address}/experiment?experiment={store.find('tickets').id}")
    tab.picture(tmp_path / "experiment.png")
    page.get_by_role("link", name="Leaderboard").click()
    page.get_by_role("heading", name="Leaderboard").wait_for()
    page.go_back()
    page.get_by_role("heading", name="tickets-lora").wait_for()
    assert tab.faults == []


def test_what_a_reader_chooses_stands_in_the_address_and_comes_back_from_it(
    tab: Tab, address: str, tmp_path: Path
) -> None:
    page, chosen = tab.page, {("verdict", "Reject"), ("order", "Name"), ("q", "claims")}
    page.goto(address)
    page.locator(".hx table").first.wait_for()
    page.get_by_test_id("stButtonGroup").get_by_role("button", name="Reject").click()
    wait_for_names(page, ["intents-lora", "claims-lora"])
    page.get_by_role("combobox", name="Order").click()
    page.get_by_role("option", name="Name", exact=True).click()
    wait_for_names(page, ["claims-lora", "intents-lora"])
    page.get_by_placeholder("Name, hypothesis or model").fill("claims")
    page.get_by_placeholder("Name, hypothesis or model").press("Enter")
    wait_for_names(page, ["claims-lora"])
    page.wait_for_url(lambda url: set(parse_qsl(urlsplit(url).query)) == chosen)
    page.goto(f"{address}/?verdict=Reject&order=Name&columns=score")
    wait_for_names(page, ["claims-lora", "intents-lora"])
    playwright.expect(page.locator(".hx table").first.locator("thead th")).to_have_text(["candidate", "score"])
    assert tab.faults == []


def test_pages_views_and_the_table_of_all_candidates(tab: Tab, address: str) -> None:
    page = tab.page
    page.goto(f"{address}/?page=2")
    wait_for_names(page, ["half-done"])
    page.get_by_text("2 folders of the store cannot be read").click()
    page.get_by_text("notes: no spec.yaml: not an experiment").wait_for()
    page.get_by_test_id("stButtonGroup").get_by_text("Candidates", exact=True).click()
    page.get_by_text("41 candidates of 9 experiments").wait_for()
    settle(page)  # the button of the other view is gone
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download CSV").click()
    assert len(Path(downloading.value.path()).read_text().splitlines()) == 42
    assert tab.faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 1440])
def test_the_tables_fit_the_screen_in_light_and_in_dark(
    tab: Tab, address: str, tmp_path: Path, scheme: str, width: int
) -> None:
    page = tab.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(address)
    good = {"light": "rgb(31, 106, 165)", "dark": "rgb(109, 177, 224)"}[scheme]
    playwright.expect(page.locator(".hx .pass").first).to_have_css("color", good)
    fits = "[...document.querySelectorAll('.hx-wide')].every(one => one.scrollWidth <= one.clientWidth)"
    page.wait_for_function(fits)
    page.screenshot(path=tmp_path / f"{scheme}-{width}.png")


def test_what_a_model_says_stays_inert(tab: Tab, address: str, store: Store) -> None:
    page = tab.page
    page.goto(f"{address}/compare?experiment={store.find('tickets').id}&text=pwned&show=all")
    page.get_by_text("<script>window.pwned=1</script>").first.wait_for()
    assert page.evaluate("window.pwned") is None
    assert page.locator("#bold, img[src*='x.png'], a[href^='javascript']").count() == 0
    assert not [url for url in tab.calls if "x.png" in url]
    assert tab.faults == []


def test_two_runs_are_compared_filtered_and_walked_through_by_keys(
    tab: Tab, address: str, store: Store, tmp_path: Path
) -> None:
    page = tab.page
    page.goto(address)
    page.get_by_role("link", name="claims-lora").click()
    page.get_by_role("link", name="Compare its answers").click()
    page.get_by_text("Sample 1 of").wait_for()
    page.wait_for_url(lambda url: urlsplit(url).path == "/compare")
    first = page.locator(".hx-said").first.text_content()
    press(page, "ArrowRight")
    page.get_by_text("Sample 2 of").wait_for()
    playwright.expect(page.locator(".hx-said").first).not_to_have_text(first)
    press(page, "ArrowLeft")
    page.get_by_text("Sample 1 of").wait_for()
    page.locator("mark.ours").first.wait_for()
    page.get_by_role("combobox", name="Slice").click()
    page.get_by_role("option", name="language=de").click()
    page.get_by_text("lost 11").wait_for()
    page.get_by_text("Every score, and the exact prompt").click()
    page.get_by_text("[system]").first.wait_for()
    tab.picture(tmp_path / "compare.png")
    assert tab.faults == []


def test_votes_are_cast_blind_by_keys_and_come_to_a_win_rate(
    tab: Tab, address: str, store: Store, tmp_path: Path
) -> None:
    page, folder = tab.page, store.find("intents")
    page.goto(f"{address}/review?experiment={folder.id}&candidate=tuned-seed0&reference=best_prompt")
    page.get_by_role("textbox", name="Your name").fill("Ann")
    page.get_by_role("textbox", name="Your name").press("Enter")
    note = page.get_by_placeholder("Why, if you like")
    note.press_sequentially("a bad tax")  # letters of a note are no votes
    page.get_by_role("heading", name="Review").click()
    for done, key in enumerate("ABTX"):
        page.get_by_text(re.compile(f"^{done} of")).wait_for()
        page.get_by_text("Answer A").wait_for()
        settle(page)
        assert "tuned" not in " ".join(page.locator(".hx-said").all_inner_texts())
        press(page, key)
    page.get_by_text(re.compile("^4 of")).wait_for()
    assert [vote.choice for vote in folder.votes()] == ["a", "b", "tie", "both_bad"]
    assert {vote.reviewer for vote in folder.votes()} == {"Ann"}
    assert [vote.note for vote in folder.votes()] == ["a bad tax", "", "", ""]
    page.get_by_text("What the votes come to").click()
    page.get_by_text("Candidate's win rate").wait_for()
    page.get_by_text("n = 4").wait_for()
    tab.picture(tmp_path / "review.png")
    assert tab.faults == []


def test_the_pages_of_data_and_production_open_from_the_menu(
    tab: Tab, address: str, store: Store, tmp_path: Path
) -> None:
    page = tab.page
    page.goto(address)
    page.get_by_role("link", name="Data", exact=True).click()
    page.get_by_role("heading", name="What the audit found").wait_for()
    page.get_by_text("same as line 4; drop one.").wait_for()
    page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg").first.wait_for()
    tab.picture(tmp_path / "data.png")
    page.get_by_role("link", name="Production", exact=True).click()
    page.get_by_text("Nothing is in production").wait_for()
    assert tab.faults == []


def test_gates_are_drawn_one_plot_a_unit_and_broken_answers_stay_inert(
    tab: Tab, address: str, store: Store, tmp_path: Path
) -> None:
    page = tab.page
    page.goto(f"{address}/?experiment={store.find('claims').id}")
    page.get_by_text("must not break critical.jsonl").first.wait_for()
    plots = page.locator("[data-testid=stVegaLiteChart]")
    plots.nth(2).wait_for()
    # points, seconds, the contestants' scores; in tabs the search and three of learning
    playwright.expect(plots).to_have_count(7)
    page.get_by_text("<script>window.pwned=1</script>").first.wait_for()
    assert page.evaluate("window.pwned") is None
    tab.picture(tmp_path / "gates.png")
    assert tab.faults == []


def test_every_tab_of_an_experiment_opens(tab: Tab, address: str, store: Store) -> None:
    page = tab.page
    page.goto(f"{address}/?experiment={store.find('intents').id}")
    landmarks = {
        "Prompt search": page.locator("summary", has_text="labels+2"),
        "Training": page.locator("[data-testid=stVegaLiteChart]").last,
        "Data": page.get_by_text("The audit found nothing."),
        "Provenance": page.get_by_text("Run it again:"),
    }
    for name, landmark in landmarks.items():
        page.get_by_role("tab", name=name).click()
        landmark.wait_for()
    for name in landmarks:  # each before the one before it is drawn
        page.get_by_role("tab", name=name).click()
    landmarks["Provenance"].wait_for()
    page.goto(f"{address}/?experiment={store.find('intents').id}&tab=Data")
    landmarks["Data"].wait_for()
    assert tab.faults == []


def test_nothing_is_asked_of_the_network(tab: Tab, address: str) -> None:
    tab.page.goto(address)
    tab.page.locator(".hx table").first.wait_for()
    tab.page.wait_for_timeout(1000)
    outside = [url for url in tab.calls if not url.startswith((address, "data:", "blob:"))]
    assert outside == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_opens_from_a_file_and_runs_nothing(tab: Tab, store: Store, tmp_path: Path, scheme: str) -> None:
    experiment = store.find("tickets")
    write_reports(experiment)
    tab.page.emulate_media(color_scheme=scheme)
    tab.page.goto((experiment.path / "report.html").as_uri())
    tab.page.get_by_text("every blocking gate passed").wait_for()
    assert tab.page.locator("svg").count() >= 4
    assert tab.page.evaluate("window.pwned") is None
    assert tab.calls == [(experiment.path / "report.html").as_uri()]
    assert tab.faults == []
    tab.picture(tmp_path / f"report-{scheme}.png")
