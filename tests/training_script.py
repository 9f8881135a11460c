"""A training of somebody else's, as a command: a plain loop over PEFT, nothing of the harness in it.

python training_script.py DATA OUTPUT MODEL SEED [--full] [--fail] [--hang]
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(data: Path, output: Path, model: str, seed: int, flags: list[str]) -> None:
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(model)
    trained = AutoModelForCausalLM.from_pretrained(model)
    if "--full" not in flags:
        trained = get_peft_model(trained, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    if "--hang" in flags:
        print("waiting", flush=True)
        time.sleep(600)
    optimizer = torch.optim.AdamW([w for w in trained.parameters() if w.requires_grad], lr=1e-2)
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    for step in range(10):
        row = rows[step % len(rows)]
        ids = tokenizer.apply_chat_template(row["messages"], return_dict=True, return_tensors="pt")["input_ids"]
        loss = trained(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"{step + 1}/10 [loss {loss.item():.3f}]", flush=True)
    if "--fail" in flags:
        sys.exit("the disk is full")
    trained.save_pretrained(output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5:])
