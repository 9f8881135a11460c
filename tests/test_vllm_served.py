"""What vLLM cannot serve beside the base model, judged beside it all the same: by servers of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_training import ROWS, job

from harness import forgetting
from harness.engines import ServeSpec, vllm
from harness.judgement.answers import Answers, Wanted
from harness.models import LocalModel
from harness.progress import Silent
from harness.records import Candidate, Decoding, SeedTraining
from harness.serving import Serving
from harness.store import Store
from harness.suites import Suite, Task
from harness.trainers import METHODS, TrainSpec, beside_base, no_scorer

pytestmark = [pytest.mark.vllm, pytest.mark.model]
RATES = {"dora": 1e-2, "full": 1e-4}


@pytest.fixture(scope="module")
def trained(small_model: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, SeedTraining]:
    if (found := vllm.find()).python is None:
        pytest.skip(f"no vLLM to test: {found.reason}. {vllm.INSTALL}")
    made = {}
    for method, rate in RATES.items():
        spec = TrainSpec.model_validate({"method": method, "learning_rate": rate, "max_steps": 2, "batch_size": 2})
        assert beside_base(spec) == 0
        made[method] = METHODS[spec.method](job(small_model, spec), no_scorer, Silent())[0]
    return made


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def test_a_dora_merged_and_a_whole_model_are_judged_beside_the_base_in_one_experiment(
    small_model: LocalModel, trained: dict[str, SeedTraining], tmp_path: Path
) -> None:
    folder = Store(tmp_path).create("x--1", "name: x\n")
    spec = ServeSpec(engine="vllm", max_model_len=512, cache=False)
    prompt = job(small_model).prompt
    base = Candidate(name="base", model=small_model.ref, prompt=prompt, decoding=Decoding(max_tokens=8))
    tuned = [base.model_copy(update={"name": name, "adapter": one.adapter}) for name, one in trained.items()]
    suite = Suite("task", "task", "test", (Task("task", "generate", ROWS[:4], ("exact_match",), Decoding()),))
    with Serving(spec, small_model, max_adapters=0, rank=16, folder=folder, progress=Silent()) as serving:
        for name, one in trained.items():
            serving.add(name, one.adapter)
        rows = {row.candidate: row for row in serving.parity(trained).adapters}
        made = Answers(folder, serving, Silent()).evaluate_all([Wanted(one, suite) for one in (base, *tuned)])
        texts = forgetting.load()
        assert texts is not None
        few = forgetting.GeneralTexts(texts.passages[:3], texts.prompts[:2])
        adapters = {name: one.adapter for name, one in trained.items()}
        lost = forgetting.measure(serving.engine, adapters, few, Silent())
    for name in trained:
        assert rows[name].tuned is not None
        assert max(rows[name].base or 0.0, rows[name].tuned or 0.0) < 1e-3
    answers = {run.candidate.name: [one.answer for one in folder.samples(run.id)] for run in made}
    assert all(None not in said for said in answers.values())
    assert len({tuple(said) for said in answers.values()}) == 3
    assert all(run.conditions == made[0].conditions for run in made)
    assert all(abs(one.text.value or 0.0) > 1e-5 for one in lost.adapters)
