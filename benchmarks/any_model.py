"""Tokens a second and memory of SFT by LoRA on a Llama of 135M parameters, against trl.

The same folder, chats, adapters, length and number of rows in a step; both pack, and learn the
answers only. Each peer is a process of its own, and they take turns, so that a busy machine hits
both alike. Tokens are places of rows: the packing of either leaves next to none empty.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import QUICK, medians, report, rounds
from benchmarks.terminal import ROOT

TITLE = "any_model: SFT by LoRA on a 135M Llama against trl's SFTTrainer"

WARM_UP, STEPS = 1, 3
MARK = "measured: "
"""Begins a peer's result: the Trainer prints lines of its own before and after."""
BATCH, LENGTH, RANK = 4, 256, 8
SHAPE: dict[str, Any] = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
    "max_position_embeddings": 2048,
    "eos_token_id": 0,
    "bos_token_id": None,
}
SMALL = {"vocab_size": 16384, "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 6,
         "num_attention_heads": 3, "num_key_value_heads": 1}  # fmt: skip


def run() -> None:
    found: dict[str, dict[str, list[float]]] = {name: {} for name in PEERS}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _make(folder)

        def speed(name: str) -> float:
            command = [sys.executable, "-m", "benchmarks.any_model", name, place]
            out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            said = next(line for line in out.stdout.splitlines() if line.startswith(MARK))
            result = json.loads(said.removeprefix(MARK))
            found[name].setdefault("memory", []).append(result["memory"])
            return float(result["speed"])

        speeds = medians({name: partial(speed, name) for name in PEERS}, rounds(3), warm_up=False)
    memory = {name: min(of["memory"]) for name, of in found.items()}
    of = "small Llama" if QUICK else "135M Llama"
    report(f"{of}, LoRA {RANK}, {BATCH}x{LENGTH}", speeds["ours"], speeds["trl"], "trl",
           unit="tokens/s", at_least=1.2)  # fmt: skip
    report(f"{of}, largest RSS", memory["ours"], memory["trl"], "trl", unit="MB", at_most=1.0)


def _make(folder: Path) -> None:
    """A model with random weights, its tokenizer and template, and chats."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from lmm_tui.data.chat.chatml import CHAT_TEMPLATE
    from lmm_tui.data.tokenizing.tokenizer import Tokenizer

    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Tell me about the numbers {n} and {n * 7 % 97}."},
                {"role": "assistant", "content": " ".join(
                    f"The sum of {n} and {m} is {n + m}." for m in range(n % 9 + 2)
                )},
            ]
        }
        for n in range(800)
    ]  # fmt: skip
    (folder / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    texts = [turn["content"] for row in rows for turn in row["messages"]]
    Tokenizer.train(texts, 600).save(folder / "model", CHAT_TEMPLATE)
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPE | (SMALL if QUICK else {}))
    LlamaForCausalLM(config).save_pretrained(folder / "model")


class Clock:
    """Says, after the last step, how fast the steps after the warm-up were."""

    def __init__(self) -> None:
        self.done, self.start = 0, 0.0

    def step_done(self) -> None:
        self.done += 1
        if self.done == WARM_UP:
            self.start = time.perf_counter()
        if self.done == WARM_UP + STEPS:
            seconds = time.perf_counter() - self.start
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            said = {"speed": STEPS * BATCH * LENGTH / seconds, "memory": memory}
            print(f"{MARK}{json.dumps(said)}")


def ours(folder: Path, step_done: Callable[[], None]) -> None:
    from lmm_tui.engine.config.resolve import resolve
    from lmm_tui.engine.training import loop
    from lmm_tui.engine.training.parts import TrainingParts
    from lmm_tui.engine.training.run_host import EngineHost

    class Timed(loop.Trainer):
        def _step(self, parts: TrainingParts) -> None:
            super()._step(parts)
            step_done()

    loop.Trainer = Timed  # type: ignore[misc]
    settings = {
        "stage": "sft", "device": "cpu", "runs_dir": str(folder / "runs"),
        "start_from": str(folder / "model"), "data.source": str(folder / "chats.jsonl"),
        "data.seq_len": LENGTH, "train.batch_size": BATCH, "train.steps": WARM_UP + STEPS,
        "train.precision": "fp32", "lora.rank": RANK, "optim.lr": 1e-4, "optim.warmup_steps": 1,
        "log.val_every": 0, "log.probe_every": 0, "log.sample_every": 0, "log.checkpoint_every": 0,
    }  # fmt: skip
    EngineHost(resolve(assignments=settings)).run()


def trl(folder: Path, step_done: Callable[[], None]) -> None:
    import datasets
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from lmm_tui.engine.config.sections.lora_config import LoraConfig as OurLora

    class Report(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            step_done()

    rows = [json.loads(line) for line in (folder / "chats.jsonl").read_text().splitlines()]
    pairs = [{"prompt": row["messages"][:1], "completion": row["messages"][1:]} for row in rows]
    arguments = SFTConfig(
        output_dir=str(folder / "trl"), use_cpu=True, max_steps=WARM_UP + STEPS, packing=True,
        max_length=LENGTH, per_device_train_batch_size=BATCH, learning_rate=1e-4, report_to=[],
        save_strategy="no", logging_strategy="no", disable_tqdm=True, bf16=False,
        gradient_checkpointing=False, completion_only_loss=True, optim="adamw_torch_fused",
    )  # fmt: skip
    adapters = LoraConfig(r=RANK, lora_alpha=16, target_modules=[*OurLora().targets])
    SFTTrainer(
        str(folder / "model"), args=arguments, train_dataset=datasets.Dataset.from_list(pairs),
        peft_config=adapters, callbacks=[Report()],
    ).train()  # fmt: skip


PEERS = {"ours": ours, "trl": trl}


if __name__ == "__main__":
    PEERS[sys.argv[1]](Path(sys.argv[2]), Clock().step_done)
