"""Looks: who was let at a test split or a suite, counted in the ledger before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from harness import evaluate, gates
from harness.gates import GateSpec
from harness.judgement.answers import Wanted, asked_as
from harness.judgement.case import Case, questions
from harness.progress import Progress
from harness.records import Candidate, Conditions, LookRecord, canonical_json, digest
from harness.store import ExperimentStore, Looks
from harness.suites import Suite

ENOUGH = "enough"
"""The ledger's kind of look at whether the best prompt suffices."""
AGAINST = "gate against {}"
"""The ledger's kind of look at a suite, by whom candidates would take the place of."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One tuned candidate under one prompt, or for the claim `recipe` one a training seed, before the test split."""

    name: str
    """Candidate name; of several the one that is best on dev."""
    candidates: tuple[Candidate, ...]
    look: LookRecord
    """What its gates may spend."""
    looks: Mapping[str, LookRecord] = field(default_factory=dict)
    """Suite to the look of its own, in a deploy gate; `look` is then the one that may spend least."""


class Looking:
    """Takes the looks of one case."""

    def __init__(self, case: Case, folder: ExperimentStore, looks: Looks, progress: Progress) -> None:
        self._case, self._folder, self._looks, self._progress = case, folder, looks, progress

    def enter(self, candidates: Sequence[Candidate]) -> Contender:
        """Take a look at the test split for a candidate (several for a recipe, the best on dev first).

        The look is in the ledger before anything is asked. Who took this very test before keeps that look.
        """
        look = self._take(evaluate.TASK_SUITE, self._case.split.questions, candidates, self._test_digest())
        return Contender(candidates[0].name, tuple(candidates), look)

    def enter_against(self, candidate: Candidate, reference: Candidate) -> Contender:
        """Take a look at every suite for a candidate that would take a reference's place; see docs/deploying.md.

        Each suite has a ledger of its own for every reference: its candidates are one family. The task's test split
        has the ledger that it has in experiments.
        """
        looks = dict[str, LookRecord]()
        for suite in self._case.suites:
            plain = Wanted(candidate, suite).plain  # no prompt touches it, so none makes another candidate or reference
            who, whom = (digest([asked_as(one, plain)]) for one in (candidate, reference))
            test = digest([self._suite_digest(suite), whom, self._case.as_deployed])
            kind = AGAINST.format(whom[:12])
            looks[suite.name] = self._take(kind, questions(suite), [candidate], test, who, suite.name)
        if self._case.test is not None:
            whom = digest([asked_as(reference)])
            test = self._digest_of(self._case.rules, [s.fingerprint for s in self._case.all_suites], reference=whom)
            looks[evaluate.TASK_SUITE] = self._take(evaluate.TASK_SUITE, self._case.test.questions, [candidate], test)
        least = min(looks.values(), key=lambda look: look.level)
        return Contender(candidate.name, (candidate,), least, looks)

    def at_enough(self, best: Candidate, test: Suite) -> LookRecord | None:
        """A look at whether the best prompt is enough, of a kind of its own; None where nothing asks."""
        rules = self._case.enough
        if not rules:
            return None
        return self._take(ENOUGH, self._case.split.questions, [best], self._digest_of(rules, [test.fingerprint]))

    def _take(
        self, kind: str, asked: Sequence[str], candidates: Sequence[Candidate], test_digest: str,
        who: str | None = None, suite: str = "",
    ) -> LookRecord:  # fmt: skip
        """A look in the ledger. who: the candidate's identity there, where it is not that of its record."""
        policy, digests = self._case.policy, sorted(candidate.digest for candidate in candidates)
        look = self._looks.take(
            kind,
            asked,
            who or (digests[0] if len(digests) == 1 else digest(digests)),
            test_digest,
            candidate=candidates[0].name,
            experiment=self._case.id,
            alpha=policy.alpha,
            budget=policy.looks,
            spending=policy.spending,
            level=partial(gates.level_at, policy),
        )
        at = {evaluate.TASK_SUITE: "this test split", ENOUGH: "whether a prompt is enough here"}.get(kind, suite)
        many = "" if policy.spending == "open_ended" else f" of {look.budget}"
        self._progress.note(
            f"{candidates[0].name}: look {look.number}{many} at {at}"
            + ("" if look.level else ", which is spent: no gate can pass any more")
        )
        return look

    def _test_digest(self) -> str:
        """How contenders are tested: whatever of it is changed, it is another draw from the same test split."""
        spec = self._case
        gated = [gate.against for gate in spec.rules if gate.rule == "min_delta" and gate.suite == evaluate.TASK_SUITE]
        names = dict.fromkeys((*spec.references, *gated))
        references = [self._folder.run(evaluate.run_id(name, evaluate.TASK_SUITE, "test")) for name in names]
        return self._digest_of(
            spec.rules,
            [suite.fingerprint for suite in self._case.all_suites],
            claim=spec.policy.claim,
            references=[[run.candidate_digest, run.fingerprint] for run in references if run is not None],
            stop_early=[spec.stop_early, spec.seed] if spec.stop_early else None,
        )

    def _digest_of(self, rules: Sequence[GateSpec], suites: Sequence[str], **more: object) -> str:
        """A test by its content: rules, items with their slices, engine, and what else there is to it."""
        told = {"must_not_break", "hoped", "discordance"}  # the file by its content, in `suites`; others decide nothing
        conditions = self._folder.read(Conditions)
        test = self._case.split
        cut = [*zip(test.questions, test.slices, strict=True)]
        cut += [(i.digest, i.slices) for suite in self._case.all_suites for task in suite.tasks for i in task.items]
        return digest(
            {
                "rules": [rule.model_dump(mode="json", exclude=told) for rule in rules],
                "suites": suites,
                "slices": sorted(canonical_json(pair) for pair in cut),
                "conditions": None if conditions is None else conditions.model_dump(mode="json"),
                **more,
            }
        )

    def _suite_digest(self, suite: Suite) -> str:
        """How one suite is tested in a deploy gate: its rules, items with their slices, and the engine."""
        rules = [rule for rule in self._case.rules if rule.suite == suite.name and rule.rule != "must_not_break"]
        told, conditions = {"hoped", "discordance"}, self._folder.read(Conditions)
        return digest(
            {
                "rules": [rule.model_dump(mode="json", exclude=told) for rule in rules],
                "suite": suite.fingerprint,
                "slices": sorted(canonical_json([i.digest, i.slices]) for task in suite.tasks for i in task.items),
                "conditions": None if conditions is None else conditions.model_dump(mode="json"),
            }
        )
