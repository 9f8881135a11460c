"""Embeddings: cosine similarity by a sentence-transformers model, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness import artifacts, models
from harness.errors import ModelError, Problem, UsageError
from harness.models import names
from harness.models.resolve import fetch
from harness.retrieval.ranking import batches

WHERE = "prompt.retrieval.by"
FORMATS = ("onnx/*", "openvino/*")
"""Folders of hub repositories that hold other formats of the same weights."""
CONTENT = (".safetensors", ".json", ".txt", ".model")
"""Files that make an embedding model what it is."""
DECIMALS = 5
"""Similarities closer than this are ties: how texts are batched moves the digits behind."""

Side = Literal["query", "document"]


class Embedder:
    """One embedding model. A folder without a sentence-transformers configuration is pooled by the mean.

    It stays on the CPU: the GPU is the answering engine's. No code of the model's own is run, no pickle read.
    Raises UsageError where the library is not installed, ModelError when the model cannot be had.
    """

    def __init__(self, by: str, near: Path | None, note: Callable[[str], None]) -> None:
        _require_library(by)
        self._by = by
        self._vectors: dict[tuple[Side, str], NDArray[np.float32]] = {}
        path = _folder(by, near, note)
        _refuse_pickles(by, path)
        try:
            self._model = _load(path)
        except (OSError, ValueError, RuntimeError, ImportError, KeyError) as fault:
            raise ModelError(Problem(WHERE, f"{by!r} cannot be loaded: {_first_line(fault)}")) from fault

    def embed(self, texts: Sequence[str], side: Side) -> NDArray[np.float32]:
        """Vectors of length 1, (texts, dimensions); a blank text has a vector of zeros, which is like nothing.

        side: models may treat questions and documents unlike. Raises ModelError.
        """
        owed = list(dict.fromkeys(text for text in texts if text.strip() and (side, text) not in self._vectors))
        if owed:
            encode = self._model.encode_query if side == "query" else self._model.encode_document
            try:
                with models.quiet():
                    made = encode(owed, show_progress_bar=False, normalize_embeddings=True, convert_to_numpy=True)
            except (ValueError, RuntimeError, IndexError) as fault:
                raise ModelError(Problem(WHERE, f"{self._by!r} cannot embed: {_first_line(fault)}")) from fault
            self._vectors.update(zip(((side, text) for text in owed), made, strict=True))
        nothing = np.zeros(self._model.get_embedding_dimension(), dtype=np.float32)
        return np.stack([self._vectors.get((side, text), nothing) for text in texts])

    def sees(self, texts: Sequence[str]) -> str:
        """A word to the user where texts are longer than what the model sees of them; else empty."""
        most = self._model.max_seq_length
        if most is None:
            return ""
        with models.quiet():
            tokens = self._model.tokenizer(list(texts), truncation=False)["input_ids"]
        longer = sum(len(ids) > most for ids in tokens)
        return f"{longer} of {len(texts)} are longer than the {most} tokens that it sees" if longer else ""


class Embedded:
    """Texts by their vectors."""

    floor = -np.inf
    """Every text is more or less like a question."""

    def __init__(self, embedder: Embedder, texts: Sequence[str], side: Side) -> None:
        self._embedder = embedder
        self._indexed = embedder.embed(texts, side)

    def scores(self, texts: Sequence[str]) -> Iterator[NDArray[np.float64]]:
        """Cosine similarities: one array (indexed,) a question, in order."""
        self._embedder.embed(texts, "query")  # together, and kept: long and short texts make better batches so
        for batch in batches(texts, len(self._indexed)):
            asked = self._embedder.embed(batch, "query")
            yield from np.round((asked @ self._indexed.T).astype(np.float64), DECIMALS)


def embedder_digest(by: str, near: Path | None, note: Callable[[str], None]) -> str:
    """sha256 (64 hex digits) over an embedding model's weights, configuration and tokenizer.

    A model of the hub is fetched for it: its name says nothing about which weights will rank. Raises as `Embedder`.
    """
    _require_library(by)
    path = _folder(by, near, note)
    return artifacts.digest_folder(
        path, lambda name: Path(name).suffix in CONTENT and not name.startswith(("onnx/", "openvino/"))
    )


def _require_library(by: str) -> None:
    if find_spec("sentence_transformers") is None:
        hint = "pip install 'finetune-harness[retrieval]'; or by: bm25, which needs nothing"
        raise UsageError(Problem(WHERE, f"{by!r} needs sentence-transformers", next=hint))


def _folder(by: str, near: Path | None, note: Callable[[str], None]) -> Path:
    try:
        spelling = names.read(by, near)
        if spelling.kind == "package":
            return models.resolve(by, note=note).path
        if spelling.kind == "hub":
            return fetch(spelling.value, None, note, ignored=FORMATS)
    except ModelError as fault:
        raise ModelError([replace(problem, where=WHERE) for problem in fault.problems]) from fault
    return Path(spelling.value)


def _refuse_pickles(by: str, path: Path) -> None:
    """sentence-transformers takes a pickle where a module has nothing better; so every module must have better."""
    weights = [file for file in path.rglob("*") if file.suffix in artifacts.PICKLES]
    pickled = sorted(str(f.relative_to(path)) for f in weights if not any(f.parent.glob("*.safetensors")))
    if pickled or not any(path.rglob("*.safetensors")):
        what = f"has pickled weights ({', '.join(pickled[:3])})" if pickled else "has no weights"
        allowed = "Weights must be *.safetensors; a pickle runs code when it is read"
        raise ModelError(Problem(WHERE, f"{by!r} {what}", allowed, "Save it with save_pretrained"))


def _load(path: Path) -> Any:
    import torch

    arguments = {"use_safetensors": True, "dtype": torch.float32, "trust_remote_code": False, "local_files_only": True}
    with models.quiet():
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

        if (path / "modules.json").is_file():
            return SentenceTransformer(
                str(path), device="cpu", trust_remote_code=False, local_files_only=True, model_kwargs=arguments
            )
        body = Transformer(str(path), model_kwargs=arguments)
        pooled = Pooling(body.get_embedding_dimension(), "mean")
        return SentenceTransformer(modules=[body, pooled], device="cpu")


def _first_line(fault: Exception) -> str:
    return (str(fault).strip() or type(fault).__name__).splitlines()[0]
