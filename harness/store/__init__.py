"""The only reader and writer of `reports/`: write-once records, the manifest last, no pickles.

    reports/<name>--<digest8>/
        spec.yaml  provenance.json  conditions.json  data.json  prompt.json  training.json
        parity.json  forgetting.json  gated.json  reference_conditions.json
        comparisons.jsonl  verdict.json  votes.jsonl
        spending.jsonl
        report.md  report.html  junit.xml  model_card.md  data_card.md
        runs/<run id>/samples.parquet  run.json
        journal/<name>.jsonl         answers of a stage that is under way
        exports/<form>-<n>.json      what was exported, and how it was judged again
        logs/                        what engines printed
    reports/looks.jsonl              the ledger: who was judged on which test split
    reports/monitoring.jsonl         every look at production logs
    reports/registry.jsonl           every move of `production` and other aliases

A record that exists is complete: files are written beside their place and renamed.
A run is complete when its `run.json` exists; until then `samples.jsonl` grows by a
line per sample, and a torn last line is a sample still owed. A complete run's samples
are one Parquet file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from harness.errors import HarnessError, Problem, StoreError, UsageError, did_you_mean
from harness.store.experiment import FILES, ExperimentStore
from harness.store.files import Journal, read_lines, read_record, write_file
from harness.store.ledger import Monitoring, Registry
from harness.store.looks import Looks
from harness.store.owed import JournalSamples, Place
from harness.store.samples import samples_digest
from harness.store.scanning import SPEC, Found, look, scan
from harness.store.votes import counted

__all__ = [
    "FILES",
    "ExperimentStore",
    "Found",
    "Journal",
    "JournalSamples",
    "Looks",
    "Monitoring",
    "Place",
    "Registry",
    "Store",
    "counted",
    "default_root",
    "read_lines",
    "read_record",
    "samples_digest",
    "write_file",
]

RESERVED = (
    "spec.yaml",
    "comparisons.jsonl",
    "votes.jsonl",
    "spending.jsonl",
    "verdicts",
    "report.md",
    "report.html",
    "junit.xml",
    "model_card.md",
    "data_card.md",
    "runs",
    "journal",
    "exports",
    "logs",
)
"""Names in an experiment's folder beside those of its records."""
_VIEWED = frozenset({SPEC, "comparisons.jsonl", "spending.jsonl", *FILES.values()})
"""Files that views of an experiment are made from, beside its runs' manifests."""


def default_root() -> Path:
    """`HARNESS_REPORTS`, else `reports` in the current folder."""
    return Path(os.environ.get("HARNESS_REPORTS") or "reports")


class Store:
    """The folder of all experiments."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    def at(self, experiment_id: str) -> ExperimentStore:
        """The folder that an experiment has or would have; writes nothing."""
        return ExperimentStore(self.root / experiment_id)

    def create(self, experiment_id: str, spec_yaml: str, files: Mapping[str, str] | None = None) -> ExperimentStore:
        """Open an experiment's folder, made with its resolved spec when it is new.

        files: path to text of what the spec names beside itself (metrics of one's own), kept there too.
        """
        path = self.root / experiment_id
        if not (path / "spec.yaml").exists():
            for name, text in (files or {}).items():
                if name.partition("/")[0] in {*FILES.values(), *RESERVED}:
                    raise StoreError(Problem(name, "is the name of a file of the store", next="Rename it"))
                write_file(path / name, text)
            write_file(path / "spec.yaml", spec_yaml)
        return ExperimentStore(path)

    @property
    def looks(self) -> Looks:
        """The ledger of looks at test splits."""
        return Looks(self.root)

    @property
    def monitoring(self) -> Monitoring:
        """The ledger of looks at production logs."""
        return Monitoring(self.root)

    @property
    def registry(self) -> Registry:
        """The ledger of what is deployed: where `production` and other aliases point, and how they came there."""
        return Registry(self.root)

    def ids(self) -> list[str]:
        """All experiment folders, newest first."""
        if not self.root.is_dir():
            return []
        folders = [p for p in self.root.iterdir() if p.is_dir() and (p / "spec.yaml").exists()]
        return [
            p.name for p in sorted(folders, key=lambda p: ((p / "spec.yaml").stat().st_mtime, p.name), reverse=True)
        ]

    def scan(self) -> list[Found]:
        """Every folder with a stamp of its records, the newest experiment first; reads no file."""
        return scan(self.root, _VIEWED)

    def holds(self, experiment_id: str) -> bool:
        """Whether there is such a folder in the store itself; a name like `../x` leads nowhere."""
        return self.root.is_dir() and experiment_id in os.listdir(self.root)

    def stamp(self, experiment_id: str) -> str:
        """Changes whenever a record of the experiment does: what a cache of its views is keyed by. Empty without it."""
        found = look(self.root / experiment_id, _VIEWED)
        return found.stamp if found else ""

    def experiments(self) -> list[ExperimentStore]:
        """All experiments, newest first."""
        return [ExperimentStore(self.root / name) for name in self.ids()]

    def damaged(self) -> dict[str, str]:
        """Folders that are no experiments or whose records cannot be read, with the reason."""
        faults: dict[str, str] = {}
        folders = sorted(p for p in self.root.iterdir() if p.is_dir()) if self.root.is_dir() else []
        for folder in folders:
            if not (folder / "spec.yaml").exists():
                faults[folder.name] = "no spec.yaml: not an experiment"
                continue
            try:
                experiment = ExperimentStore(folder)
                experiment.spec()
                for kind in FILES:
                    experiment.read(kind)
                experiment.runs()
                experiment.comparisons()
            except HarnessError as fault:
                faults[folder.name] = str(fault)
        return faults

    def find(self, wanted: str) -> ExperimentStore:
        """An experiment by its id, a unique part of its id, or its folder. `latest` is the newest."""
        ids = self.ids()
        if not wanted.strip():  # of an unset variable, say; every id contains an empty text
            raise UsageError(Problem(str(self.root), "the name that was given is empty", next="See harness ls"))
        if wanted == "latest" and ids:
            return ExperimentStore(self.root / ids[0])
        as_path = Path(wanted)
        if as_path.name != wanted and (as_path / "spec.yaml").exists():
            return ExperimentStore(as_path)
        exact = [name for name in ids if name == wanted]
        found = exact or [name for name in ids if name.startswith(wanted)] or [n for n in ids if wanted in n]
        if len(found) == 1:
            return ExperimentStore(self.root / found[0])
        if found:
            hint = f"It fits {', '.join(found)}. Give more of it."
            raise UsageError(Problem(str(self.root), f"experiment {wanted!r} is not unique", hint))
        hint = did_you_mean(wanted, ids) if ids else "The store is empty; make an experiment with `harness run SPEC`."
        raise UsageError(Problem(str(self.root), f"no experiment {wanted!r}", hint))
