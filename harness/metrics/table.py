"""The table of all metrics, as docs/metrics.md holds it: `python -m harness.metrics.table` prints it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from harness.metrics import CHOICE_CORPUS_METRICS, CORPUS_METRICS, METRICS, ChoiceCorpusMetric
from harness.metrics.registry import Metric

Row = tuple[str, ...]


def markdown() -> str:
    """Metrics of an answer, of choices, of all answers, and of all log-likelihoods."""
    of_text = sorted((one for one in METRICS.values() if one.output == "generate" and "@" not in one.name), key=_name)
    of_choice = sorted((one for one in METRICS.values() if one.output == "choice"), key=_name)
    corpus = [(f"`{one.name}`", f"{one.limits[0]:g} to {one.limits[1]:g}", one.summary)
              for _, one in sorted(CORPUS_METRICS.items())]  # fmt: skip
    of_all = [(f"`{one.name}`", _values(one), one.summary)
              for _, one in sorted(CHOICE_CORPUS_METRICS.items())]  # fmt: skip
    return "\n\n".join((
        _table(("metric", "arguments", "target", "score"), map(_row, of_text)),
        _table(("metric of choices", "score"), ((f"`{one.name}`", one.summary) for one in of_choice)),
        _table(("metric of all answers", "values", "what it is"), corpus),
        _table(("of all log-likelihoods", "values", "what it is"), of_all),
    ))  # fmt: skip


def _values(one: ChoiceCorpusMetric) -> str:
    if one.higher_is_better:
        return f"{one.limits[0]:g} to {one.limits[1]:g}"
    return f"from {one.limits[0]:g}, less is better"


def _name(metric: Metric) -> str:
    return metric.name.casefold()


def _row(metric: Metric) -> Row:
    arguments = ", ".join(
        f"`{name}`" if one.default is one.empty else f"`{name}={json.dumps(one.default)}`"
        for name, one in metric.parameters.items()
    )
    return f"`{metric.name}`", arguments, metric.target, metric.summary


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    print(markdown())
