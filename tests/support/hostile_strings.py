"""What a terminal, a spreadsheet or a picture must not get, and a run that is full of it."""

import json
import unicodedata
from pathlib import Path

from made_runs import make_run

from lmm_tui.engine.run.run_dir import RunDir

CORPUS = {
    "OSC 52 sets the clipboard": "\x1b]52;c;cHduZWQ=\x07",
    "OSC 0 sets the title": "\x1b]0;pwned\x1b\\",
    "OSC 8 makes a link": "\x1b]8;;http://pwned\x07",
    "cursor moves": "\x1b[13;37H\x1b[666C\x1b[31337A",
    "DCS": "\x1bP+qpwned\x1b\\",
    "APC": "\x1b_Gpwned\x1b\\",
    "reset": "\x1bc",
    "C1 controls": "".join(map(chr, range(0x80, 0xA0))),
    "bidi": "\u202epwned\u202c\u2066\u2069\u200f",
    "zero width": "\u200b\ufeff\u2060",
    "NUL and BEL": "a\0b\x07c\x08d\x7f",
    "combining marks": "Z" + "\u0301\u0316" * 5000,
}

FORMULAS = ("=cmd|' /C calc'!A0", "@SUM(1+1)", "+1+1", "-2+3", "\t=1", "＝1", "'=1")
MARKUP = (
    "[bold]x[/bold]",
    "[@click=app.quit]x",
    "<script>alert(1)</script>",
    "]]>",
    "&lt;",
    "$\\frac{",
)
EVIL = "".join(CORPUS.values())
FOLDER = "demo" + EVIL.replace("\0", "").replace("/", "").encode()[:200].decode(errors="ignore")


def unsafe(text: str) -> set[str]:
    """The characters in it that a terminal obeys, or by which it hides or reorders text."""
    categories = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return {c for c in text if unicodedata.category(c) in categories and c != "\n"}


def hostile_run(folder: Path) -> RunDir:
    """A run with control characters in every text, its folder's name included."""
    run = make_run(folder, FOLDER, state="failed", error=EVIL, activity=EVIL, model=EVIL)
    info = {**vars(run.read_info()), "device": EVIL, "parent": EVIL, "references": {EVIL: 3.0}}
    run.write_info(type(run.read_info())(**info))
    attacks = [*CORPUS.values(), *FORMULAS, *MARKUP]
    with run.metrics.open("w", encoding="utf-8") as file:
        for step in range(1, 40):
            row = {"step": step, "time": 1e9 + step, "train/loss": 5 - step / 20}
            row |= {f"{name}{attack}": float(step) for name, attack in CORPUS.items()}
            row |= {attack: float(step) for attack in (*FORMULAS, *MARKUP)}
            row |= {f"grad/{attack}": 0.1 for attack in attacks}
            file.write(json.dumps(row) + "\n")
    levels = ("info", "warning", "error")
    with run.events.open("w", encoding="utf-8") as file:
        for number, attack in enumerate(attacks):
            event = {"time": 1e9, "kind": attack, "message": attack, "level": levels[number % 3]}
            file.writelines(json.dumps(event | {"step": it}) + "\n" for it in (number, attack))
    with run.samples.open("w", encoding="utf-8") as file:
        for attack in attacks:
            text = {"time": 1e9, "kind": "sample", "prompt": attack, "text": attack}
            file.writelines(json.dumps(text | {"step": it}) + "\n" for it in (2, attack))
            losses = {"kind": "token_losses", "tokens": [attack] * 3, "losses": [0.5, 2, 9]}
            file.write(json.dumps({"step": 3, **losses}) + "\n")
    run.output.write_text(EVIL)
    run.note_file.write_text(EVIL)
    run.write_config(f"stage = {json.dumps(EVIL)}\n")
    return run
