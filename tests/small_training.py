"""A training small enough for a test: a random llama, eight rows, a second of work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.data import Row, Split
from harness.models import LocalModel, quiet
from harness.models.folder import describe
from harness.progress import Bar, Silent
from harness.records import Item, Message, Prompt
from harness.trainers import Job, TrainSpec

TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
ASK = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
CHATML = TURNS + ASK
NO_NEWLINE = TURNS.replace("<|im_end|>\n", "<|im_end|>") + ASK
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if loop.last and m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n"
    "{% endfor %}" + ASK
)
OTHER_PROMPT = TURNS + "{% if add_generation_prompt %}<|im_start|>assistant answering\n{% endif %}"
ENDLESS = TURNS.replace("<|im_end|>\n", "\n") + ASK
EOS_ENDS = TURNS.replace("<|im_end|>", "<|endoftext|>") + ASK

ROWS = tuple(
    Item(id=f"r{n}", messages=(Message(role="user", content=f"What comes after {n}?"),), target=f"It is {n + 1}.")
    for n in range(8)
)
SPLIT = Split("train", "rows.jsonl", tuple(Row(item, line) for line, item in enumerate(ROWS, 1)))
PROMPT = Prompt(name="trained", instruction="Count.")
QUICK = TrainSpec(learning_rate=0.05, rank=4, batch_size=4, epochs=6, save_steps=5, dropout=0.1)


def job(model: LocalModel, spec: TrainSpec = QUICK, **changes: Any) -> Job:
    """A training of the eight rows."""
    return Job(**{"spec": spec, "prompt": PROMPT, "model": model, "seed": 0, "rows": ROWS} | changes)


def tiny(folder: Path, template: str = CHATML, *, poisoned: bool = False) -> LocalModel:
    """A random llama of two layers with a byte-level tokenizer, its end of sequence not its end of turn."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    byte_level = Tokenizer(models.BPE(vocab={sign: at for at, sign in enumerate(signs)}, merges=[]))
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level,
        eos_token="<|endoftext|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        chat_template=template,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=512,
            initializer_range=0.2,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    if poisoned:
        with torch.no_grad():
            model.model.norm.weight[0] = float("nan")
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return describe(str(folder), folder, None)


class Notes(Silent):
    """Keeps what a person would see; a bar can be made to break the training off."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.notes: list[str] = []
        self.begun: list[tuple[int, int]] = []
        self.steps = 0
        self._stop_at = stop_at

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def bar(self, label: str, total: int, done: int = 0) -> Iterator[Bar]:
        self.begun.append((done, total))
        self.steps = done
        yield self

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.steps += steps
        if self.steps == self._stop_at:
            raise KeyboardInterrupt
