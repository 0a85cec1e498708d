"""A chat template from anybody has limits on time and memory, and one sentence where it exceeds
them; one that is usual is written as without a process."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import psutil
import pytest

from lmm_tui.data.chat import template_process
from lmm_tui.data.chat.template import render, render_all, render_prompt
from lmm_tui.data.chat.template_process import TemplateProcess, TemplateRefusal
from lmm_tui.data.chat.tokenizer_template import TokenizerTemplate
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Conversation, Turn

TALK = Conversation((Turn("user", "one"), Turn("assistant", "two")))
PLAIN = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
SLOW = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(9) %}"
    "{% endfor %}{% endfor %}{% endfor %}",
    "a power": "{{ (9 ** 9999999) % 7 }}{{ (7 ** 99999999) % 3 }}",
    "a condition on the text": "{% if 'one' in messages[0].content %}{% for a in range(99999) %}"
    "{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}",
}
LARGE = {
    "a multiplication": "{{ 'a' * 5000000000 }}",
    "a format": "{{ '%1000000000000d' % 1 }}",
    "a format of the string": "{{ '{:>1000000000000}'.format(1) }}",
    "padding": "{{ 'a'.ljust(5000000000) }}",
    "doubling": "{% set n = namespace(x='aaaaaaaaaa') %}{% for i in range(64) %}"
    "{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
    "a list": "{{ ([1] * 1000000000) | length }}",
    "indented JSON": "{{ messages | tojson(indent=1000000000) }}",
    "replacement": "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
    "much text": "{% for i in range(99999) %}{{ 'a' * 400 }}{% endfor %}",
}
OTHER = {
    "endless recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "division by zero": "{{ 1 / 0 }}",
    "an attribute of Python": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a method of an integer": "{{ (1).__init__.__globals__ }}",
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["one two three "] * 9, 280)


def opened(source: str, tokenizer: Tokenizer) -> TokenizerTemplate:
    return TokenizerTemplate(source, tokenizer, {})


@pytest.mark.parametrize("source", SLOW.values(), ids=SLOW)
def test_a_slow_template_is_ended(
    source: str, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_process, "_LONGEST_S", 0.2)
    begun = time.monotonic()
    with pytest.raises((DataError, TemplateRefusal), match="it takes more than 0 s"):
        render(TALK, tokenizer, opened(source, tokenizer))  # A constant is computed when opened.
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize("source", LARGE.values(), ids=LARGE)
def test_a_template_that_fills_the_memory_is_refused(source: str, tokenizer: Tokenizer) -> None:
    before = psutil.Process().memory_info().rss
    with pytest.raises(DataError, match="memory|million characters|overflow|too large|process"):
        render(TALK, tokenizer, opened(source, tokenizer))
    assert psutil.Process().memory_info().rss - before < 200 << 20


@pytest.mark.parametrize("source", OTHER.values(), ids=OTHER)
def test_what_python_raises_in_a_template_is_one_sentence(
    source: str, tokenizer: Tokenizer
) -> None:
    with pytest.raises(DataError, match="chat template refuses a conversation of user, assistant"):
        render(TALK, tokenizer, opened(source, tokenizer))


def test_after_a_refusal_the_next_conversation_is_written(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    source = PLAIN + "{% if messages[0].content == 'bad' %}" + loops + "{% endif %}"
    template = opened(source, tokenizer)
    bad = Conversation((Turn("user", "bad"), Turn("assistant", "two")))
    with monkeypatch.context() as patch, pytest.raises(DataError):
        patch.setattr(template_process, "_LONGEST_S", 0.2)
        render(bad, tokenizer, template)
    ids, learnt = render(TALK, tokenizer, template)
    assert tokenizer.decode(ids) == "<|im_start|>one<|im_end|><|im_start|>two<|im_end|>"
    said = [token for token, counted in zip(ids, learnt, strict=True) if counted]
    assert tokenizer.decode(said) == "<|im_start|>two<|im_end|>"


def test_many_threads_and_a_fork_use_one_template(tokenizer: Tokenizer) -> None:
    template = opened(PLAIN, tokenizer)
    wanted = [Conversation((Turn("user", f"{n}"), Turn("assistant", "two"))) for n in range(40)]
    right = [render(talk, tokenizer, template) for talk in wanted]
    found: dict[int, list[tuple[list[int], list[bool]]]] = {}

    def work(number: int) -> None:
        found[number] = list(render_all(wanted, tokenizer, template))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[number] == right for number in range(4))
    child = os.fork()
    if child == 0:
        same = template.prompt_spans(TALK.turns[:1])[1].text == "one"
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert render_prompt(TALK.turns[:1], tokenizer, template)


def test_the_process_has_no_secrets_and_imports_nothing_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jinja2.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "secret")
    process = TemplateProcess(PLAIN, {}, "<x>")
    assert "HF_TOKEN" not in psutil.Process(process.pid).environ()
    assert not (tmp_path / "pwned").exists()


def test_the_process_ends_with_the_template() -> None:
    process = TemplateProcess(PLAIN, {}, "<x>")
    pid = process.pid
    assert pid is not None and psutil.pid_exists(pid)
    del process
    assert not psutil.pid_exists(pid)


def test_no_template_is_refused_at_once() -> None:
    with pytest.raises(TemplateRefusal, match="end of statement block"):
        TemplateProcess("{% if %}", {}, "<x>")
