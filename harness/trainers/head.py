"""The vocabulary's logits on a CPU: computed where something is learned, and nowhere else.

TRL's fused head scores only learned positions on a GPU; on other devices it scores all of them and throws the rest
away, for the sake of devices that compile anew for each shape. A CPU compiles nothing. With rows that are mostly prompt
most of that arithmetic is for nothing: see docs/training_speed.md.
"""

from __future__ import annotations

from typing import Any


def score_learned_alone(device: str) -> bool:
    """Have TRL's head in this process leave out positions without loss on a CPU too, by its own code for GPUs.

    The loss is the same sum. False where this version of TRL decides otherwise, which is then only slower.
    """
    from trl.trainer import utils

    if device != "cpu" or not hasattr(utils, "_use_triton"):
        return False
    utils._use_triton = _compacts
    return True


def _compacts(device: Any) -> bool:
    return device.type in ("cpu", "cuda", "xpu")
