"""What is trained on: real rows of mixed length, or made ones of full length, and a model of random weights."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path

from harness import data
from harness.chat import chat
from harness.models import LocalModel, quiet
from harness.models.folder import describe
from harness.records import Item, Message, Prompt

SOURCES = ("replay/seed_instructions.jsonl", "tasks/sms_spam/train.jsonl", "tasks/wikisql_text2sql/train.jsonl")
LONGEST = 256
"""Tokens of the longest row that is taken."""
NOTHING = Prompt(name="trained", instruction="")

ONE_BILLION = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
"""The shape of Llama 3.2 1B."""

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def short_rows(shared: Path, count: int, model: LocalModel) -> tuple[Item, ...]:
    """Rows of three sources in turn, the first ones that are short enough."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(model.path))

    def short(item: Item) -> bool:
        turns = [*chat(NOTHING, item), Message(role="assistant", content=item.target)]
        text = tokenizer.apply_chat_template([turn.model_dump() for turn in turns], tokenize=False)
        return len(tokenizer(text)["input_ids"]) <= LONGEST

    each = [[item for item in data.load_items(file, shared, "")[: 2 * count] if short(item)] for file in SOURCES]
    found = [item for item in chain.from_iterable(zip_longest(*each)) if item is not None][:count]
    if len(found) < count:
        raise SystemExit(f"{shared} has {len(found)} rows of at most {LONGEST} tokens, not {count}")
    return tuple(item.model_copy(update={"id": f"row-{at}"}) for at, item in enumerate(found))


def long_rows(tokens: int, count: int) -> tuple[Item, ...]:
    """Made rows of so many tokens of the made tokenizer, a letter a token, all but the question learned."""
    letters = random.Random(0)
    return tuple(
        Item(
            id=f"row-{at}",
            messages=(Message(role="user", content="Go on."),),
            target="".join(letters.choices("abcdefghijklmnop", k=tokens - 40)),
        )
        for at in range(count)
    )


def random_model(folder: Path, shape: dict[str, int | bool]) -> LocalModel:
    """A llama of random weights in bfloat16 with a tokenizer of bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={sign: at for at, sign in enumerate(signs)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token="<|im_end|>",  # noqa: S106
        pad_token="<|pad|>",  # noqa: S106
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHATML,
    )
    torch.manual_seed(0)
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    model = LlamaForCausalLM(LlamaConfig(**shape, eos_token_id=eos, bos_token_id=None, pad_token_id=pad))
    with quiet():
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return describe(str(folder), folder, None)


def as_rows(items: Sequence[Item]) -> list[dict[str, list[dict[str, str]]]]:
    """Rows as any user of TRL writes them: prompt and completion."""
    return [
        {
            "prompt": [turn.model_dump() for turn in chat(NOTHING, item)],
            "completion": [{"role": "assistant", "content": item.target}],
        }
        for item in items
    ]
