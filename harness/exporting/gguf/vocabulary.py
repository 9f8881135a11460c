"""A tokenizer as a GGUF file states it: tokens with their kinds, merges, the name of how text is split, special tokens.

llama.cpp knows ways to split a text by name alone. So the tokenizer's own way is recognised, never guessed: a wrong
name gives other tokens for the same text, and a model that is quietly worse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.errors import Problem, UsageError
from harness.models import turns

DIGITS: Final = [{"type": "Digits", "individual_digits": True}]
REGEX: Final = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
KNOWN: Final[Mapping[str, list[dict[str, Any]]]] = {"gpt-2": [REGEX], "smollm": [*DIGITS, REGEX]}
"""llama.cpp's name to the steps of a tokenizer.json, beside the ones that are told apart by their expression."""
BY_CONVERTER: Final = (
    "llama.cpp's own converter knows more: put the folder that has convert_hf_to_gguf.py into HARNESS_LLAMA_CPP"
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What is written under `tokenizer.`."""

    pre: str
    """llama.cpp's name for the way in which text is split."""
    tokens: tuple[str, ...]
    """By id; of ids without a token a placeholder."""
    kinds: tuple[int, ...]
    """ggml's kind of each token: normal, control, user defined, unused."""
    merges: tuple[str, ...]
    special: Mapping[str, int]
    """`bos`, `eos`, `eot`, `pad`, `unk` to ids."""
    adds_bos: bool
    """Whether a plain text is begun with a token."""
    chat_template: str


def read(model: Path, size: int) -> Vocabulary:
    """The vocabulary of a model folder; size: rows of its embedding.

    Raises UsageError for a tokenizer that is no byte-level BPE, or that splits text in a way without a known name.
    """
    from transformers import AutoConfig, AutoTokenizer

    safe = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(str(model), **safe)
    config = AutoConfig.from_pretrained(str(model), **safe)
    told = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    pre = _pre(told, model)
    tokens, kinds = _tokens(tokenizer, size)
    pairs = told["model"]["merges"]
    return Vocabulary(
        pre=pre,
        tokens=tokens,
        kinds=kinds,
        merges=tuple(pair if isinstance(pair, str) else " ".join(pair) for pair in pairs),
        special=_special(tokenizer, config),
        adds_bos=list(tokenizer("a")["input_ids"])[:1] == [tokenizer.bos_token_id],
        chat_template=str(tokenizer.chat_template),
    )


def _pre(told: Mapping[str, Any], model: Path) -> str:
    """llama.cpp's name of how a tokenizer splits text."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    where = f"{model.name[:12]}/tokenizer.json"
    if told["model"].get("type") != "BPE" or told["model"].get("byte_fallback") or told.get("normalizer"):
        what = f"is {told['model'].get('type')} with a normalizer or byte fallback"
        raise UsageError(Problem(where, what, "A byte-level BPE is written here", BY_CONVERTER))
    given = told.get("pre_tokenizer") or {}
    steps = [_plain(step) for step in given.get("pretokenizers", [given])]
    for name, wanted in KNOWN.items():
        if steps == wanted:
            return name
    split = next((step["pattern"].get("Regex") for step in steps if step.get("type") == "Split"), None)
    by_regex = [name for name, regex in GGUF_PRE_TOKENIZER_SPLITS.items() if regex == split]
    if len(steps) == 2 and by_regex and steps[1] == REGEX | {"use_regex": False}:
        preferred = [name for name in ("llama-bpe", "qwen2", "tekken", "gpt-4o") if name in by_regex]
        return (preferred or by_regex)[0]
    raise UsageError(Problem(where, "splits text in a way that llama.cpp has no known name for", next=BY_CONVERTER))


def _plain(step: Mapping[str, Any]) -> dict[str, Any]:
    """A step without what does not change tokens."""
    return {key: value for key, value in step.items() if key != "trim_offsets"}


def _tokens(tokenizer: Any, size: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    from gguf import TokenType

    by_id = {number: token for token, number in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    tokens, kinds = [], []
    for number in range(size):
        token = by_id.get(number)
        if token is None:
            kind = TokenType.UNUSED
        elif number not in added:
            kind = TokenType.NORMAL
        else:
            kind = TokenType.CONTROL if added[number].special else TokenType.USER_DEFINED
        tokens.append(f"[PAD{number}]" if token is None else token)
        kinds.append(int(kind))
    return tuple(tokens), tuple(kinds)


def _special(tokenizer: Any, config: Any) -> dict[str, int]:
    """Ids of special tokens; the end of a turn is the chat template's own, whatever the tokenizer calls its end."""
    named = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "unk", "pad")}
    ends = turns.end_tokens(tokenizer, config) - {named["eos"]}
    if ends:
        named["eot"] = min(ends)
    return {name: number for name, number in named.items() if number is not None}
