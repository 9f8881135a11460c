"""Random chat models of two layers for tests of exports: a byte-level BPE with merges and digits split."""

from __future__ import annotations

from pathlib import Path

from small_training import CHATML

from harness.models import LocalModel, quiet
from harness.models.folder import describe


def make(
    folder: Path, kind: str = "llama", template: str = CHATML, *, tied: bool = True, ends: str = "<|im_end|>",
    context: int = 512, digits: bool = True,
) -> LocalModel:  # fmt: skip
    """kind: transformers' model type. ends: the tokenizer's own end of sequence."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {sign: at for at, sign in enumerate([*signs, "he", "Ġa", "th", "the", "in", "er", "Ġthe", "Ġt"])}
    merges = [("h", "e"), ("Ġ", "a"), ("t", "h"), ("th", "e"), ("i", "n"), ("e", "r"), ("Ġ", "the"), ("Ġ", "t")]
    words = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    steps = [pre_tokenizers.Digits(individual_digits=True), level] if digits else [level]
    words.pre_tokenizer = pre_tokenizers.Sequence(steps)
    words.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        eos_token=ends,
        pad_token="<|pad|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>", "<|endoftext|>"],
        chat_template=template,
    )
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=128 if kind == "qwen3" else 16,  # all that transformers reads from a GGUF file of qwen3
        max_position_embeddings=context,
        initializer_range=0.2,
        tie_word_embeddings=tied,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )
    if hasattr(config, "sliding_window"):
        config.sliding_window = None
    model = AutoModelForCausalLM.from_config(config).half().float()  # so that a file of f16 holds it exactly
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return describe(str(folder), folder, None)
