"""Looks at the test split, gates, and the verdict over all who were judged."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from harness import evaluate, gates, reviewing
from harness.caveats import caveats, unless_collapsed
from harness.chat import Library
from harness.compare import HUMAN, Prices, Scored, join
from harness.gates import Entrant, GateSpec
from harness.gates.watching import GateWatch, can_be_watched, family_size
from harness.judgement.answers import Answers, Wanted
from harness.judgement.case import Case
from harness.judgement.looking import Contender, Looking
from harness.progress import Progress
from harness.records import (
    EXIT_CODES,
    Candidate,
    ComparisonRecord,
    Decision,
    Family,
    Finalist,
    GateRecord,
    JudgedRun,
    ParityRecord,
    RunRecord,
    VerdictRecord,
)
from harness.serving import Serving
from harness.spec import Experiment
from harness.store import ExperimentStore, Looks
from harness.suites import Suite


class Court:
    """Evaluates candidates on suites, once each, and judges them by the gates of an experiment or a deploy gate."""

    def __init__(
        self, case: Experiment | Case, folder: ExperimentStore, looks: Looks, serving: Serving, progress: Progress,
        library: Library | None = None,
    ) -> None:  # fmt: skip
        """library: where prompts with retrieval look things up."""
        self._case = Case.of(case) if isinstance(case, Experiment) else case
        self._folder = folder
        self._looking = Looking(self._case, folder, looks, progress)
        self._answers = Answers(folder, serving, progress, library, timed=self._case.timed)
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
        rules = self._case.enough
        look = self._looking.at_enough(best, test)
        run = self.evaluate(best, test)
        if look is None:
            return None
        scored = run, self._folder.samples(run.id)
        evidence = [gates.gather(rule, [scored], None, "artifact", self._prices) for rule in rules]
        (judged,), family = gates.judge(self._case.policy, rules, [Entrant(best.name, look.level, evidence)])
        told = " ".join(gate.reason for gate in judged)
        if gates.decide(judged, spent=not look.level)[0] != "promote":
            self._progress.note(f"the best prompt is not shown to be enough, so training goes on: {told}")
            return None
        reason = f"The best prompt alone is good enough, so nothing was trained. {told}"
        finalist = Finalist(name=best.name, decision="prompt_suffices", reason=reason, look=look)
        self._folder.write_comparisons(self._prompts())
        return self._record("prompt_suffices", reason, best.name, judged, (finalist,), family)

    def enter(self, candidates: Sequence[Candidate]) -> Contender:
        """Take a look at the test split for a candidate; see `Looking.enter`."""
        return self._looking.enter(candidates)

    def enter_against(self, candidate: Candidate, reference: Candidate) -> Contender:
        """Take a look at every suite for a candidate of a deploy gate; see `Looking.enter_against`."""
        return self._looking.enter_against(candidate, reference)

    def examine(self, contenders: Sequence[Contender], base: Candidate | None, test: Suite | None) -> None:
        """Every contender on the task, on what must not break and on every suite; base on the suites too.

        base: None where its runs are there already, or are asked by another engine. test: None without a task.
        """
        of_base = [Wanted(base, suite) for suite in self._case.suites if base is not None]
        if self._case.stop_early:  # whoever is watched is held against a run that is whole
            self._answers.evaluate_all(of_base)
            of_base = []
        whom = [(contender, candidate) for contender in contenders for candidate in contender.candidates]
        kept = [Wanted(one, suite) for _, one in whom for suite in self._case.must_not_break.values()]
        judged = [
            Wanted(one, suite, self._watch(contender, len(contenders), suite))
            for suite in (*([] if test is None else [test]), *self._case.suites)
            for contender, one in whom
        ]
        self._answers.evaluate_all([*of_base, *kept, *judged])

    def _watch(self, contender: Contender, entrants: int, suite: Suite) -> GateWatch | None:
        """Stops an evaluation early where the spec allows it and every gate on the suite has a test for that."""
        policy, rules = self._case.policy, self._case.rules
        here = [gate for gate in rules if gate.suite == suite.name and gate.rule != "must_not_break"]
        if not self._case.stop_early or not contender.look.level or not can_be_watched(policy, here):
            return None
        size = family_size(policy, rules, self._values, entrants)
        references = [self._scored(gate.against, gate.suite) for gate in here]
        return GateWatch(policy, here, references, contender.look.level, size, self._case.seed)

    def _values(self, gate: GateSpec) -> int:
        """How many slices a gate on the worst of them has."""
        if gate.suite == evaluate.TASK_SUITE:
            slices = self._case.split.slices
        else:
            suite = next(suite for suite in self._case.suites if suite.name == gate.suite)
            tasks = [task for task in suite.tasks if gate.task in ("*", task.name)]
            slices = tuple(item.slices for task in tasks for item in task.items)
        return len({one[str(gate.worst_slice)] for one in slices if gate.worst_slice in one})

    # ------------------------------------------------------------------- judging

    def verdict(self, contenders: Sequence[Contender]) -> VerdictRecord:
        """Compare, judge gate by gate, decide."""
        rules = self._case.rules
        entrants = [
            Entrant(one.name, one.look.level, [self._evidence(one, gate) for gate in rules], _levels(one))
            for one in contenders
        ]
        judged, family = gates.judge(self._case.policy, rules, entrants)
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
        if self._case.test is None:
            return []
        task, claim = evaluate.TASK_SUITE, self._case.policy.claim
        return [
            join(runs, self._reference(name, task, runs), claim=claim).record(1 - 2 * contender.look.level)
            for contender in contenders
            for runs in [[self._scored(one.name, task) for one in contender.candidates]]
            for name in self._case.references
            if contender.look.level
        ]

    def _prompts(self) -> list[ComparisonRecord]:
        """Every other prompt on the base model against the best one, for the reader; nothing is promoted by it."""
        if len(self._case.references) < 2:  # a deploy gate: there is no best prompt
            return []
        task, best = evaluate.TASK_SUITE, self._case.references[-1]
        asked = [run.candidate for run in self._folder.runs() if (run.suite, run.split) == (task, "test")]
        others = [one.name for one in asked if one.adapter is None and one.name != best]
        return [join([self._scored(name, task)], self._scored(best, task)).record(0.95) for name in others]

    def _evidence(self, contender: Contender, gate: GateSpec) -> gates.Evidence:
        """What a gate is judged on: the contender's runs, and its reference's where it has one."""
        if gate.metric == HUMAN:
            task = evaluate.TASK_SUITE
            sides = (evaluate.run_id(name, task, "test") for name in (contender.name, gate.against))
            return reviewing.evidence(self._folder, *sides)
        kept = self._case.must_not_break.get(gate.must_not_break or "")
        suite = kept.name if kept is not None else gate.suite
        runs = [self._scored(candidate.name, suite) for candidate in contender.candidates]
        reference = self._reference(gate.against, suite, runs) if gate.rule == "min_delta" else None
        return gates.gather(gate, runs, reference, self._case.policy.claim, self._prices)

    @property
    def _prices(self) -> Prices | None:
        both = self._case.budget.token_prices
        return None if both is None else Prices(input=both[0], output=both[1])

    def _reference(self, name: str, suite: str, runs: Sequence[Scored]) -> Scored:
        """The run to compare with; of deployments as they are whatever its conditions, and the verdict says so."""
        run, samples = self._scored(name, suite)
        return run.model_copy(update={"conditions": runs[0][0].conditions}) if self._case.as_deployed else run, samples

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
            experiment=self._case.id,
            hypothesis=self._case.hypothesis,
            decision=decision,
            exit_code=EXIT_CODES[decision],
            reason=reason,
            claim=self._case.policy.claim,
            candidate=candidate,
            gates=tuple(judged),
            finalists=finalists,
            family=family,
            runs=tuple(
                JudgedRun(run=run.id, candidate_digest=run.candidate_digest, samples_digest=run.samples_digest)
                for run in runs
            ),
            parity=self._folder.read(ParityRecord),
            warnings=caveats(runs, self._folder, self._case.seeds),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )


def _levels(one: Contender) -> Mapping[str, float]:
    return {suite: look.level for suite, look in one.looks.items()}
