"""What the task's data is once it is read: rows, splits and where they come from."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, model_validator

from harness.data.policy import AuditSpec
from harness.partspec import PartSpec
from harness.records import Item, SplitName, digest

SPLITS: tuple[SplitName, ...] = ("train", "dev", "test")


class CardSpec(PartSpec):
    """Where the rows come from."""

    source: str = ""
    """Who made them and how, or where they were taken from."""
    licence: str = ""
    """Under which terms they may be used, e.g. CC-BY-4.0."""
    notes: str = ""
    """What else a reader should know: consent, personal data, known gaps."""


class DataSpec(PartSpec):
    """Where the task's rows are: three files, or one file and how to split it."""

    train: str | None = None
    """Training rows; demonstrations come from here too."""
    dev: str | None = None
    """Rows for the prompt race; never judged on."""
    test: str | None = None
    """Rows that the verdict rests on; sealed until then."""
    path: str | None = None
    """One file with all rows, instead of the three."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of train, dev and test when `path` is given."""
    seed: int = 0
    """Seed of that split."""
    limit: dict[SplitName, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """Use only the first rows of a split, e.g. {train: 500}."""
    columns: dict[str, str] = Field(default_factory=dict)
    """What the files call the harness's fields, e.g. {prompt: question, completion: answer}."""
    card: CardSpec = CardSpec()
    """Origin and licence of the rows; shown in the report."""
    audit: AuditSpec = AuditSpec()
    """What the audit does about each rule's findings."""

    @model_validator(mode="after")
    def _one_way(self) -> DataSpec:
        files = [self.train, self.dev, self.test]
        if self.path is None and not all(files):
            missing = [name for name, file in zip(SPLITS, files, strict=True) if not file]
            raise ValueError(f"no file for {', '.join(missing)}; give train, dev and test, or path")
        if self.path is not None and any(files):
            raise ValueError("path and train/dev/test together; give one or the other")
        if min(self.split) <= 0 or abs(sum(self.split) - 1) > 1e-6:
            raise ValueError(f"split {list(self.split)} must be three positive shares that sum to 1")
        return self


@dataclass(frozen=True, slots=True)
class Row:
    """One item and where it stands."""

    item: Item
    line: int


@dataclass(frozen=True, slots=True)
class Split:
    """One split of the task's data."""

    name: SplitName
    file: str
    rows: tuple[Row, ...]

    @property
    def items(self) -> tuple[Item, ...]:
        """The rows' items, in file order."""
        return tuple(row.item for row in self.rows)

    @property
    def fingerprint(self) -> str:
        """Content identity, independent of row order and of ids."""
        return digest(sorted(row.item.digest for row in self.rows))

    def to_learn_from(self) -> tuple[Item, ...]:
        """The items, for whoever searches, trains or chooses. Raises ValueError for the test split."""
        if self.name == "test":
            raise ValueError("the test split is for judging; nothing may be learned from it or chosen by it")
        return self.items


@dataclass(frozen=True, slots=True)
class SealedSplit:
    """The test split. How large it is and what identifies it anyone may know; its rows, who judges.

    It is no `Split`: a function that learns or chooses cannot be handed it.
    """

    sealed: Split = field(repr=False)
    """The rows; read inside this package only, by the audit."""

    @property
    def file(self) -> str:
        """File name as spelled in the spec."""
        return self.sealed.file

    @property
    def name(self) -> SplitName:
        """`test`."""
        return "test"

    @property
    def size(self) -> int:
        """How many rows."""
        return len(self.sealed.rows)

    @property
    def fingerprint(self) -> str:
        """Content identity, independent of row order and of ids."""
        return self.sealed.fingerprint

    @property
    def questions(self) -> tuple[str, ...]:
        """A digest of each row's folded question: by them the ledger of looks knows a split again.

        Letter case, punctuation and spacing do not count. Nor does system text, unless it is what tells the rows
        apart: an instruction that is edited or lifted out of the rows does not make other questions of them.
        """
        bare = [_folded(item, system=False) for item in self.sealed.items]
        told_apart = len(set(bare)) > len(bare) / 2
        return tuple(digest(text) for text in (bare if told_apart else (_folded(i, True) for i in self.sealed.items)))

    @property
    def clusters(self) -> tuple[str | None, ...]:
        """Each row's cluster: what a forecast needs to know of dependence."""
        return tuple(item.cluster for item in self.sealed.items)

    @property
    def slices(self) -> tuple[dict[str, str], ...]:
        """Each row's slices: their names and sizes are no secret."""
        return tuple(item.slices for item in self.sealed.items)

    def unseal(self) -> Split:
        """The rows, to judge a candidate on. Called by the pipeline alone."""
        return self.sealed


@dataclass(frozen=True, slots=True)
class Data:
    """The three splits and the instruction that their rows share."""

    format: str
    train: Split
    dev: Split
    test: SealedSplit
    instruction: str
    """The system message that all rows carry, or empty."""

    @property
    def opened(self) -> tuple[Split, Split, Split]:
        """train, dev, test; for checks that touch no model."""
        return self.train, self.dev, self.test.sealed


def question(item: Item, system: bool = True) -> str:
    """What is asked, folded: rows equal in it are the same question.

    System text counts, since it may hold the passage that the question is about; what all rows
    share was lifted out of them before. `system=False` looks at the other turns alone.
    """
    turns = (turn.content for turn in item.messages if system or turn.role != "system")
    return " ".join(" ".join(turns).casefold().split())


def _folded(item: Item, system: bool) -> str:
    """What is asked, in letters and digits alone."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", question(item, system))))
