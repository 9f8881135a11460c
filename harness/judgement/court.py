"""Looks at the test split, gates, and the verdict over all who were judged."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from harness import evaluate, gates, reviewing
from harness.caveats import caveats, unless_collapsed
from harness.chat import Library
from harness.compare import HUMAN, Prices, Scored, join
from harness.gates import Entrant, GateSpec
from harness.gates.watching import GateWatch, can_be_watched, family_size
from harness.judgement.answers import Answers, Wanted
from harness.progress import Progress
from harness.records import (
    EXIT_CODES,
    Candidate,
    ComparisonRecord,
    Conditions,
    Decision,
    Family,
    Finalist,
    GateRecord,
    JudgedRun,
    LookRecord,
    ParityRecord,
    RunRecord,
    VerdictRecord,
    canonical_json,
    digest,
)
from harness.serving import Serving
from harness.spec import REFERENCES, Experiment
from harness.store import ExperimentStore, Looks
from harness.suites import Suite

ENOUGH = "enough"
"""The ledger's kind of look at whether the best prompt suffices."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One tuned candidate under one prompt, or for the claim `recipe` one a training seed, before the test split."""

    name: str
    """Candidate name; of several the one that is best on dev."""
    candidates: tuple[Candidate, ...]
    look: LookRecord
    """What its gates may spend."""


class Court:
    """Evaluates candidates on suites, once each, and judges them by the experiment's gates."""

    def __init__(
        self, experiment: Experiment, folder: ExperimentStore, looks: Looks, serving: Serving, progress: Progress,
        library: Library | None = None,
    ) -> None:  # fmt: skip
        """library: where prompts with retrieval look things up."""
        self._experiment = experiment
        self._spec = experiment.spec
        self._folder = folder
        self._looks = looks
        self._answers = Answers(folder, serving, progress, library, timed=experiment.spec.timed)
        self._progress = progress

    def evaluate(self, candidate: Candidate, suite: Suite, watch: GateWatch | None = None) -> RunRecord:
        """Evaluate a candidate on a suite, once."""
        return self._answers.evaluate(candidate, suite, watch)

    def evaluate_all(self, candidates: Sequence[Candidate], suite: Suite) -> list[RunRecord]:
        """Evaluate candidates on a suite, each once, together where the engine can."""
        return self._answers.evaluate_all([Wanted(candidate, suite) for candidate in candidates])

    # --------------------------------------------------------------------- looks

    def is_enough(self, best: Candidate, test: Suite) -> VerdictRecord | None:
        """The best prompt on the test split; the verdict where it passes every gate of `enough`, else None.

        That is a look too, of a kind of its own: it spends nothing of what promotions may spend, and over all looks
        of its kind at this test split the chance to stop at a prompt that is not enough is at most the policy's alpha.
        """
        rules = self._spec.enough
        look = self._take(ENOUGH, [best], self._digest_of(rules, [test.fingerprint])) if rules else None
        run = self.evaluate(best, test)
        if look is None:
            return None
        scored = run, self._folder.samples(run.id)
        evidence = [gates.gather(rule, [scored], None, "artifact", self._prices) for rule in rules]
        (judged,), family = gates.judge(self._spec.policy, rules, [Entrant(best.name, look.level, evidence)])
        told = " ".join(gate.reason for gate in judged)
        if gates.decide(judged, spent=not look.level)[0] != "promote":
            self._progress.note(f"the best prompt is not shown to be enough, so training goes on: {told}")
            return None
        reason = f"The best prompt alone is good enough, so nothing was trained. {told}"
        finalist = Finalist(name=best.name, decision="prompt_suffices", reason=reason, look=look)
        self._folder.write_comparisons(self._prompts())
        return self._record("prompt_suffices", reason, best.name, judged, (finalist,), family)

    def enter(self, candidates: Sequence[Candidate]) -> Contender:
        """Take a look at the test split for a candidate (several for a recipe, the best on dev first).

        The look is in the ledger before anything is asked. Who took this very test before keeps that look.
        """
        look = self._take(evaluate.TASK_SUITE, candidates, self._test_digest())
        return Contender(candidates[0].name, tuple(candidates), look)

    def _take(self, kind: str, candidates: Sequence[Candidate], test_digest: str) -> LookRecord:
        policy, digests = self._spec.policy, sorted(candidate.digest for candidate in candidates)
        look = self._looks.take(
            kind,
            self._experiment.data.test.questions,
            digests[0] if len(digests) == 1 else digest(digests),
            test_digest,
            candidate=candidates[0].name,
            experiment=self._experiment.id,
            alpha=policy.alpha,
            budget=policy.looks,
            spending=policy.spending,
            level=partial(gates.level_at, policy),
        )
        what = "at this test split" if kind == evaluate.TASK_SUITE else "at whether a prompt is enough here"
        self._progress.note(
            f"{candidates[0].name}: look {look.number} of {look.budget} {what}"
            + ("" if look.level else ", which is spent: no gate can pass any more")
        )
        return look

    def _test_digest(self) -> str:
        """How contenders are tested: whatever of it is changed, it is another draw from the same test split."""
        spec = self._spec
        gated = [gate.against for gate in spec.rules if gate.rule == "min_delta" and gate.suite == evaluate.TASK_SUITE]
        names = dict.fromkeys((*REFERENCES, *gated))
        references = [self._scored(name, evaluate.TASK_SUITE)[0] for name in names]
        return self._digest_of(
            spec.rules,
            [suite.fingerprint for suite in self._all_suites],
            claim=spec.policy.claim,
            references=[[run.candidate_digest, run.fingerprint] for run in references],
            stop_early=[spec.stop_early, spec.data.seed] if spec.stop_early else None,
        )

    def _digest_of(self, rules: Sequence[GateSpec], suites: Sequence[str], **more: object) -> str:
        """A test by its content: rules, items with their slices, engine, and what else there is to it."""
        told = {"must_not_break", "hoped", "discordance"}  # the file by its content, in `suites`; others decide nothing
        conditions = self._folder.read(Conditions)
        test = self._experiment.data.test
        cut = [*zip(test.questions, test.slices, strict=True)]
        cut += [(i.digest, i.slices) for suite in self._all_suites for task in suite.tasks for i in task.items]
        return digest(
            {
                "rules": [rule.model_dump(mode="json", exclude=told) for rule in rules],
                "suites": suites,
                "slices": sorted(canonical_json(pair) for pair in cut),
                "conditions": None if conditions is None else conditions.model_dump(mode="json"),
                **more,
            }
        )

    @property
    def _all_suites(self) -> list[Suite]:
        return [*self._experiment.must_not_break.values(), *self._experiment.suites]

    def examine(self, contenders: Sequence[Contender], base: Candidate, test: Suite) -> None:
        """Every contender on the task, on what must not break and on every suite; base on the suites too."""
        of_base = [Wanted(base, suite) for suite in self._experiment.suites]
        if self._spec.stop_early:  # whoever is watched is held against a run that is whole
            self._answers.evaluate_all(of_base)
            of_base = []
        whom = [(contender, candidate) for contender in contenders for candidate in contender.candidates]
        kept = [Wanted(one, suite) for _, one in whom for suite in self._experiment.must_not_break.values()]
        judged = [
            Wanted(one, suite, self._watch(contender, len(contenders), suite))
            for suite in (test, *self._experiment.suites)
            for contender, one in whom
        ]
        self._answers.evaluate_all([*of_base, *kept, *judged])

    def _watch(self, contender: Contender, entrants: int, suite: Suite) -> GateWatch | None:
        """Stops an evaluation early where the spec allows it and every gate on the suite has a test for that."""
        policy, rules = self._spec.policy, self._spec.rules
        here = [gate for gate in rules if gate.suite == suite.name and gate.rule != "must_not_break"]
        if not self._spec.stop_early or not contender.look.level or not can_be_watched(policy, here):
            return None
        size = family_size(policy, rules, self._values, entrants)
        references = [self._scored(gate.against, gate.suite) for gate in here]
        return GateWatch(policy, here, references, contender.look.level, size, self._spec.data.seed)

    def _values(self, gate: GateSpec) -> int:
        """How many slices a gate on the worst of them has."""
        if gate.suite == evaluate.TASK_SUITE:
            slices = self._experiment.data.test.slices
        else:
            suite = next(suite for suite in self._experiment.suites if suite.name == gate.suite)
            tasks = [task for task in suite.tasks if gate.task in ("*", task.name)]
            slices = tuple(item.slices for task in tasks for item in task.items)
        return len({one[str(gate.worst_slice)] for one in slices if gate.worst_slice in one})

    # ------------------------------------------------------------------- judging

    def verdict(self, contenders: Sequence[Contender]) -> VerdictRecord:
        """Compare, judge gate by gate, decide."""
        rules = self._spec.rules
        entrants = [
            Entrant(one.name, one.look.level, [self._evidence(one, gate) for gate in rules]) for one in contenders
        ]
        judged, family = gates.judge(self._spec.policy, rules, entrants)
        gated = [gate.comparison for row in judged for gate in row if gate.comparison]
        self._folder.write_comparisons([*gated, *self._plain(contenders), *self._prompts()])
        decided = [
            unless_collapsed(gates.decide(row, spent=not one.look.level), one.candidates, self._folder)
            for one, row in zip(contenders, judged, strict=True)
        ]
        finalists = tuple(
            Finalist(name=one.name, decision=decision, reason=reason, look=one.look)
            for one, (decision, reason) in zip(contenders, decided, strict=True)
        )
        chosen = finalists[gates.choose([finalist.decision for finalist in finalists])]
        reason = chosen.reason if len(finalists) == 1 else f"{chosen.name}: {chosen.reason}"
        told = [gate for row in judged for gate in row]
        return self._record(chosen.decision, reason, chosen.name, told, finalists, family)

    def _plain(self, contenders: Sequence[Contender]) -> list[ComparisonRecord]:
        """Each contender against both baselines on the task, for the reader; gates may ask for something else.

        At the level of its look, and none when nothing is left of it: these too are read as evidence.
        """
        task, claim = evaluate.TASK_SUITE, self._spec.policy.claim
        return [
            join([self._scored(one.name, task) for one in contender.candidates], reference, claim=claim).record(
                1 - 2 * contender.look.level
            )
            for contender in contenders
            for reference in (self._scored(name, task) for name in REFERENCES)
            if contender.look.level
        ]

    def _prompts(self) -> list[ComparisonRecord]:
        """Every other prompt on the base model against the best one, for the reader; nothing is promoted by it."""
        task, best = evaluate.TASK_SUITE, REFERENCES[-1]
        asked = [run.candidate for run in self._folder.runs() if (run.suite, run.split) == (task, "test")]
        others = [one.name for one in asked if one.adapter is None and one.name != best]
        return [join([self._scored(name, task)], self._scored(best, task)).record(0.95) for name in others]

    def _evidence(self, contender: Contender, gate: GateSpec) -> gates.Evidence:
        """What a gate is judged on: the contender's runs, and its reference's where it has one."""
        if gate.metric == HUMAN:
            task = evaluate.TASK_SUITE
            sides = (evaluate.run_id(name, task, "test") for name in (contender.name, gate.against))
            return reviewing.evidence(self._folder, *sides)
        kept = self._experiment.must_not_break.get(gate.must_not_break or "")
        suite = kept.name if kept is not None else gate.suite
        runs = [self._scored(candidate.name, suite) for candidate in contender.candidates]
        reference = self._scored(gate.against, suite) if gate.rule == "min_delta" else None
        return gates.gather(gate, runs, reference, self._spec.policy.claim, self._prices)

    @property
    def _prices(self) -> Prices | None:
        budget = self._spec.budget
        if budget.input_price is None or budget.output_price is None:
            return None
        return Prices(input=budget.input_price, output=budget.output_price)

    def _scored(self, candidate: str, suite: str) -> Scored:
        """The test run of a candidate on a suite, with its samples."""
        run = self._folder.run(evaluate.run_id(candidate, suite, "test"))
        assert run is not None, f"no run of {candidate} on {suite}"  # noqa: S101  `examine` made it
        return run, self._folder.samples(run.id)

    def _record(
        self, decision: Decision, reason: str, candidate: str, judged: Sequence[GateRecord] = (),
        finalists: tuple[Finalist, ...] = (), family: Family | None = None,
    ) -> VerdictRecord:  # fmt: skip
        """A decision with all its evidence pinned."""
        runs = [run for run in self._folder.runs() if run.split == "test"]
        return VerdictRecord(
            experiment=self._experiment.id,
            hypothesis=self._spec.hypothesis,
            decision=decision,
            exit_code=EXIT_CODES[decision],
            reason=reason,
            claim=self._spec.policy.claim,
            candidate=candidate,
            gates=tuple(judged),
            finalists=finalists,
            family=family,
            runs=tuple(
                JudgedRun(run=run.id, candidate_digest=run.candidate_digest, samples_digest=run.samples_digest)
                for run in runs
            ),
            parity=self._folder.read(ParityRecord),
            warnings=caveats(runs, self._folder, self._spec.train.seeds),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
