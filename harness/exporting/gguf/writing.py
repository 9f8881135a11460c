"""A GGUF file from a model folder, by the `gguf` package: for the architectures that are mapped here."""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from harness.errors import Problem, UsageError
from harness.exporting.gguf import vocabulary
from harness.models.folder import read_config

Array = NDArray[Any]

ARCHITECTURES: Final[Mapping[str, str]] = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""transformers' model type to llama.cpp's architecture."""
QUANTIZATIONS: Final = ("f16", "q8_0")
"""Number types of the matrices; vectors such as norms stay float32."""
BLOCK: Final = 32
"""Values that share a scale in q8_0: a row that is no multiple of it stays f16."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One tensor of the model, read when it is written."""

    name: str
    """Its name in the GGUF file."""
    file: Path
    key: str
    """Its name in the safetensors file."""
    shape: tuple[int, ...]


def check(model: Path) -> None:
    """Raise UsageError for a model that is not mapped here, naming every reason."""
    config, where = read_config(model / "config.json"), "config.json"
    kind = config.get("model_type")
    problems = []
    if kind not in ARCHITECTURES:
        known = f"Mapped here: {', '.join(ARCHITECTURES)}"
        problems.append(Problem(where, f"model_type is {kind!r}", known, vocabulary.BY_CONVERTER))
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", "default") != "default":
        what = f"its positions are scaled ({rope['rope_type']})"
        problems.append(Problem(where, what, "Unscaled ones are written here", vocabulary.BY_CONVERTER))
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    if kind == "mistral" and window and window < config.get("max_position_embeddings", 0):
        what = f"it attends to a window of {window} tokens"
        problems.append(Problem(where, what, "Full attention is written here", vocabulary.BY_CONVERTER))
    if problems:
        raise UsageError(problems)


def write(model: Path, target: Path, quantization: str, name: str) -> str:
    """Write a model folder as one GGUF file, a tensor at a time; returns what wrote it.

    quantization: one of QUANTIZATIONS. name: the model's name in the file.
    Raises UsageError as `check` and `vocabulary.read` do, and for a tensor that has no place in the architecture.
    """
    import gguf

    check(model)
    config = read_config(model / "config.json")
    writer = gguf.GGUFWriter(str(target), ARCHITECTURES[config["model_type"]])
    tensors = list(_tensors(model, config))
    embedding = next(one for one in tensors if one.name == "token_embd.weight")
    _describe(writer, config, quantization, name)
    _add_vocabulary(writer, vocabulary.read(model, embedding.shape[0]))
    for one in tensors:
        _announce(writer, one, _kind(one.shape, quantization))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for one in tensors:
            values = _permuted(one.name, _load(one), config)
            writer.write_tensor_data(gguf.quants.quantize(values, _kind(one.shape, quantization)))
        writer.close()
    except BaseException as fault:  # Ctrl-C too must not leave the file open; it is raised again
        for stream in writer.fout or ():
            with contextlib.suppress(OSError):  # what it still holds cannot be written either
                stream.close()
        if isinstance(fault, OSError) and fault.errno is None:  # numpy tells a short write by its text alone
            raise OSError(errno.ENOSPC, str(fault)) from fault
        raise
    return f"gguf {importlib.metadata.version('gguf')}"


def _announce(writer: Any, one: _Tensor, kind: Any) -> None:
    """Name, shape and type of a tensor, before any of them is written."""
    import gguf

    if kind == gguf.GGMLQuantizationType.Q8_0:
        shape = gguf.quants.quant_shape_to_byte_shape(one.shape, kind)
        writer.add_tensor_info(one.name, shape, np.dtype(np.uint8), int(np.prod(shape)), raw_dtype=kind)
        return
    plain = np.dtype(np.float32 if kind == gguf.GGMLQuantizationType.F32 else np.float16)
    writer.add_tensor_info(one.name, one.shape, plain, int(np.prod(one.shape)) * plain.itemsize)


def _tensors(model: Path, config: Mapping[str, Any]) -> Iterator[_Tensor]:
    """Every tensor of the model by its GGUF name."""
    import gguf
    from safetensors import safe_open

    arch = {value: key for key, value in gguf.MODEL_ARCH_NAMES.items()}[ARCHITECTURES[config["model_type"]]]
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    for file in sorted(model.glob("*.safetensors")):
        with safe_open(file, framework="pt") as stored:
            for key in stored.keys():  # noqa: SIM118  it is no mapping
                if key.endswith("rotary_emb.inv_freq"):
                    continue
                if config.get("tie_word_embeddings") and key == "lm_head.weight":
                    continue  # llama.cpp takes the embedding where there is no output matrix
                found = names.get_name(key, try_suffixes=(".weight", ".bias"))
                if found is None:
                    what = f"the tensor {key} has no place in {config['model_type']}"
                    raise UsageError(Problem(file.name, what, next=vocabulary.BY_CONVERTER))
                yield _Tensor(found, file, key, tuple(stored.get_slice(key).get_shape()))


def _load(one: _Tensor) -> Array:
    """A tensor in float32, whatever its number type is (numpy knows no bfloat16)."""
    from safetensors import safe_open

    with safe_open(one.file, framework="pt") as stored:
        return np.asarray(stored.get_tensor(one.key).float().numpy())


def _kind(shape: tuple[int, ...], quantization: str) -> Any:
    from gguf import GGMLQuantizationType

    if len(shape) < 2:
        return GGMLQuantizationType.F32
    if quantization == "q8_0" and shape[-1] % BLOCK == 0:
        return GGMLQuantizationType.Q8_0
    return GGMLQuantizationType.F16


def _permuted(name: str, values: Array, config: Mapping[str, Any]) -> Array:
    """Query and key rows in the order of llama's original code, which turns neighbouring pairs, not halves."""
    if ARCHITECTURES[config["model_type"]] != "llama" or (".attn_q." not in name and ".attn_k." not in name):
        return values
    heads = config["num_attention_heads"]
    if ".attn_k." in name:
        heads = config.get("num_key_value_heads") or heads
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def _describe(writer: Any, config: Mapping[str, Any], quantization: str, name: str) -> None:
    import gguf

    heads = config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or {}
    types = {"f16": gguf.LlamaFileType.MOSTLY_F16, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(types[quantization])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def _add_vocabulary(writer: Any, words: vocabulary.Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(list(words.tokens))
    writer.add_token_types(list(words.kinds))
    writer.add_token_merges(list(words.merges))
    for name, number in words.special.items():
        getattr(writer, f"add_{name}_token_id")(number)
    writer.add_add_bos_token(words.adds_bos)
    writer.add_chat_template(words.chat_template)
