"""The shelves: train rows and documents, and what is found in them for a question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from harness.chat import Found, demonstration
from harness.data import question
from harness.errors import Problem, UsageError
from harness.records import Item, Message, Retrieval, digest
from harness.retrieval.documents import WHERE as DOCUMENTS
from harness.retrieval.documents import Passage, read_passages
from harness.retrieval.embedding import Embedded, Embedder, embedder_digest
from harness.retrieval.lexical import Bm25, words
from harness.retrieval.ranking import Ranker, best

Source = Literal["train", "documents"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing that can be found."""

    id: str
    """Id of a train row, or `FILE#N`."""
    searched: str
    """What a question is compared with."""
    shown: str
    """How it stands in a context."""
    example: tuple[Message, ...] = ()
    """A train row as a worked example."""


class Shelves:
    """Looks things up for questions (`harness.chat.Library`).

    items: train rows (`Split.to_learn_from()`). documents: a folder of .txt and .md files; read at once, so that its
    faults are told early. words: longest passage. near: where a relative folder of an embedding model is meant from.
    note: gets one line before each long step. Indexes are built when they are first asked for.
    Raises UsageError when the documents cannot be read.
    """

    def __init__(
        self,
        items: Sequence[Item],
        documents: Path | None = None,
        words: int = 120,
        near: Path | None = None,
        note: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._items = items
        self._passages = read_passages(documents, words) if documents is not None else ()
        self._words, self._near, self._note = words, near, note
        self._rankers: dict[tuple[Source, str], Ranker] = {}
        self._embedders: dict[str, Embedder] = {}
        self._embedder_digests: dict[str, str] = {}
        self._found: dict[tuple[Retrieval, str, str], Found] = {}

    @property
    def passages(self) -> tuple[Passage, ...]:
        """The documents' passages; none without documents."""
        return self._passages

    def corpus(self, source: Source) -> str:
        """sha256 (64 hex digits) over what is searched: what a `Retrieval` must carry. Raises UsageError without any.

        Train rows count by content, in any order: it is their split's fingerprint. Documents count by name and text,
        and so does the length of passages.
        """
        return self._rows_digest if source == "train" else self._documents_digest

    def embedder(self, by: str) -> str | None:
        """sha256 over the embedding model that ranks, which is fetched for it; None for `bm25`. Raises ModelError."""
        if by == "bm25":
            return None
        if by not in self._embedder_digests:
            self._embedder_digests[by] = embedder_digest(by, self._near, self._note)
        return self._embedder_digests[by]

    def look_up(self, retrieval: Retrieval, items: Sequence[Item]) -> list[Found]:
        """What belongs to each item, in their order. A train row that asks the same is never found.

        Letter case, punctuation and spacing make no other question. An id alone bars nothing: files may number alike.
        What is searched for is the item's turns without its system text. Rows of one question count as one. As many
        demonstrations are given as are wanted and there; as context, only what has to do with the question.
        Raises UsageError when the corpus is not the one that `retrieval` names by digest, or cannot be used so;
        ModelError when the embedding model cannot be had.
        """
        self._check(retrieval)
        keys = [(retrieval, item.id, item.digest) for item in items]
        owed = {key: item for key, item in zip(keys, items, strict=True) if key not in self._found}
        if owed:
            ranker = self._ranker(retrieval.source, retrieval.by)
            texts = [_searched(item) for item in owed.values()]
            for (key, item), scores in zip(owed.items(), ranker.scores(texts), strict=True):
                barred = self._itself(item) if retrieval.source == "train" else frozenset()
                positions = best(scores, retrieval.count, barred)
                if retrieval.use == "context":
                    positions = [at for at in positions if scores[at] > ranker.floor]
                self._found[key] = _found(retrieval, [self._pieces(retrieval.source)[at] for at in positions])
        return [self._found[key] for key in keys]

    def _check(self, retrieval: Retrieval) -> None:
        here = self.corpus(retrieval.source)
        if retrieval.corpus != here:
            what = f"the prompt looks things up in {retrieval.source} {retrieval.corpus[:8]}, and here are {here[:8]}"
            hint = "Give it the rows or documents that it was made with, or search for a prompt again"
            raise UsageError(Problem("prompt.retrieval", what, next=hint))
        if retrieval.embedder is not None and retrieval.embedder != (ranks := self.embedder(retrieval.by)):
            what = f"was {retrieval.embedder[:8]} when the prompt was made, and {retrieval.by} is {str(ranks)[:8]} here"
            hint = "Give it the embedding model that it was made with, or search for a prompt again"
            raise UsageError(Problem("prompt.retrieval.by", what, next=hint))
        if retrieval.source == "documents" and retrieval.use == "demonstrations":
            raise UsageError(Problem("prompt.retrieval", "documents cannot be demonstrations", "use: context"))

    def _pieces(self, source: Source) -> tuple[Piece, ...]:
        return self._rows if source == "train" else self._documents

    def _ranker(self, source: Source, by: str) -> Ranker:
        if (source, by) not in self._rankers:
            texts = [piece.searched for piece in self._pieces(source)]
            self._rankers[source, by] = Bm25(texts) if by == "bm25" else self._embedded(texts, source, by)
        return self._rankers[source, by]

    def _embedded(self, texts: Sequence[str], source: Source, by: str) -> Embedded:
        if by not in self._embedders:
            self._embedders[by] = Embedder(by, self._near, self._note)
        told = (f"embedding {len(texts)} texts with {by}", self._embedders[by].sees(texts))
        self._note("; ".join(part for part in told if part))
        # Train rows are questions too, so both sides of the comparison are made alike.
        return Embedded(self._embedders[by], texts, "query" if source == "train" else "document")

    def _itself(self, item: Item) -> frozenset[int]:
        """Positions of the rows that ask what this item asks; the item's own row is one of them."""
        return self._positions.get(_folded(item), frozenset())

    @cached_property
    def _rows_digest(self) -> str:
        if not self._items:
            raise UsageError(Problem("prompt.retrieval", "there are no train rows to look in"))
        return digest(sorted(item.digest for item in self._items))

    @cached_property
    def _documents_digest(self) -> str:
        if not self._passages:
            hint = "Name a folder of .txt and .md files"
            raise UsageError(Problem(DOCUMENTS, "is not given, and the prompt looks things up in it", next=hint))
        return digest([self._words, [[passage.file, passage.text] for passage in self._passages]])

    @cached_property
    def _kept(self) -> dict[str, list[Item]]:
        """Rows by question, in an order that is theirs: the same rows in another file order are the same shelves."""
        kept: dict[str, list[Item]] = {}
        for item in sorted(self._items, key=lambda item: (item.digest, item.id)):
            kept.setdefault(question(item), []).append(item)
        return kept

    @cached_property
    def _rows(self) -> tuple[Piece, ...]:
        return tuple(_row(items[0]) for items in self._kept.values())

    @cached_property
    def _positions(self) -> dict[str, frozenset[int]]:
        """Where the rows stand that ask the same in letters and digits."""
        found: dict[str, set[int]] = {}
        for at, items in enumerate(self._kept.values()):
            found.setdefault(_folded(items[0]), set()).add(at)
        return {asked: frozenset(places) for asked, places in found.items()}

    @cached_property
    def _documents(self) -> tuple[Piece, ...]:
        return tuple(
            Piece(f"{passage.file}#{passage.number}", passage.text, f"[{passage.file}]\n{passage.text}")
            for passage in self._passages
        )


def _searched(item: Item) -> str:
    """What is searched for: the item's own turns, without its system text."""
    return "\n".join(turn.content for turn in item.messages if turn.role != "system") or item.text or ""


def _folded(item: Item) -> str:
    """What is asked, in letters and digits alone; one that has none as it stands."""
    asked = question(item) or item.text or ""
    return " ".join(words(asked)) or asked


def _row(item: Item) -> Piece:
    example = demonstration(item)
    asked = example[:-1]
    text = asked[0].content if len(asked) == 1 else "\n".join(f"{turn.role}: {turn.content}" for turn in asked)
    return Piece(item.id, _searched(item), f"{text} -> {item.target}", example)


def _found(retrieval: Retrieval, pieces: Sequence[Piece]) -> Found:
    """Best first becomes best last: what stands next to the question counts most."""
    ids, last = tuple(piece.id for piece in pieces), tuple(reversed(pieces))
    if retrieval.use == "demonstrations":
        return Found(ids, demonstrations=tuple(piece.example for piece in last))
    between = "\n\n" if any("\n" in piece.shown for piece in last) else "\n"
    return Found(ids, context=between.join(piece.shown for piece in last))
