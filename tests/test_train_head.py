"""On a CPU only tokens with loss meet the vocabulary, and the loss is what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_training import tiny

from harness.trainers.head import score_learned_alone
from harness.trainers.setup import load_model, origin


def test_positions_without_loss_are_left_out_and_the_loss_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from trl.trainer import utils

    seen: list[int] = []
    kernel = utils._ChunkedLogProbFunction

    class Counting:
        @staticmethod
        def apply(hidden: Any, *rest: Any) -> Any:
            seen.append(len(hidden))
            return kernel.apply(hidden, *rest)

    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", Counting)
    monkeypatch.setattr(utils, "_use_triton", utils._use_triton)  # put back afterwards
    base = tiny(tmp_path)
    model = load_model(base.path, origin("lora"), base)
    utils.add_fused_lm_head(model)
    ids = torch.arange(20).reshape(2, 10)
    labels = ids.where(torch.arange(10) >= 7, -100)

    def loss() -> float:
        return float(model(input_ids=ids, labels=labels, fused_lm_head=True).loss.detach())

    monkeypatch.setattr(utils, "_use_triton", lambda device: False)
    whole = loss()
    assert score_learned_alone("cpu")
    assert loss() == pytest.approx(whole, abs=1e-6)
    assert seen == [2 * 9, 2 * 3]
