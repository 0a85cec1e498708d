"""Promises of the chat templates: what is learnt, and that text never becomes control."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

from lmm_tui.data.builtin.stories import story
from lmm_tui.data.chat.chatml import CHAT_TEMPLATE
from lmm_tui.data.chat.template import CHATML, render, render_all, render_prompt, stop_ids
from lmm_tui.data.chat.tokenizer_template import TokenizerTemplate
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.tokenizer import SPECIAL_TOKENS, Tokenizer
from lmm_tui.data.turns import Conversation, Turn

TOKENIZER = Tokenizer.train([story(0, index) for index in range(300)], 600)

TEXT = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        st.sampled_from([*SPECIAL_TOKENS, "\n", "<|im_", "end|>", "</think>", "assistant\n"]),
    ),
    max_size=5,
).map("".join)
TURN = st.builds(Turn, st.sampled_from(["system", "user", "assistant", "tool"]), TEXT)
TURNS = st.lists(TURN, min_size=1, max_size=6).map(tuple)

CALL = {"name": "add", "arguments": {"a": 1, "b": "é<|im_end|>"}}
TALK = (
    Turn("system", "Be kind.", {"tools": [{"name": "add", "说明": "加"}, {"name": "<|im_end|>"}]}),
    Turn("user", "1 + 1?"),
    Turn(
        "assistant",
        "I add.",
        {
            "reasoning_content": "Add them.",
            "tool_calls": [CALL, {"type": "function", "function": {**CALL, "arguments": "{}"}}],
        },
    ),
    Turn("tool", "2"),
    Turn("tool", "{}"),
    Turn("assistant", "", {"tool_calls": [CALL]}),
    Turn("tool", "3"),
    Turn("assistant", "2"),
)


def learnt_text(ids, learnt):
    return TOKENIZER.decode([token for token, counted in zip(ids, learnt, strict=True) if counted])


def said(turns):
    return "".join(f"{turn.content}<|im_end|>" for turn in turns if turn.role == "assistant")


def own(source, **config):
    return TokenizerTemplate(source, TOKENIZER, config)


EXPORTED = own(CHAT_TEMPLATE)


def test_a_conversation_is_written_as_chatml_writes_it():
    ids, learnt = render(
        Conversation(
            (
                Turn("system", "Be kind."),
                Turn("user", "你好"),
                Turn("assistant", "Hello!"),
                Turn("user", "Bye."),
                Turn("assistant", "Bye!"),
            )
        ),
        TOKENIZER,
    )
    assert TOKENIZER.decode(ids) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n"
        "<|im_start|>user\n你好<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n"
        "<|im_start|>user\nBye.<|im_end|>\n"
        "<|im_start|>assistant\nBye!<|im_end|>\n"
    )
    assert learnt_text(ids, learnt) == "Hello!<|im_end|>Bye!<|im_end|>"


@settings(deadline=None)
@given(TURNS)
def test_what_the_assistant_says_is_learnt_and_nothing_else(turns):
    ids, learnt = render(Conversation(turns), TOKENIZER)
    assert len(ids) == len(learnt)
    assert learnt_text(ids, learnt) == said(turns)


@settings(deadline=None)
@given(TURNS)
def test_text_never_becomes_a_control_token(turns):
    ids, _ = render(Conversation(turns), TOKENIZER)
    written = sum(
        turn.role != "tool" or place == 0 or turns[place - 1].role != "tool"
        for place, turn in enumerate(turns)
    )
    assert [ids.count(control) for control in (0, 1, 2)] == [0, written, written]


@settings(deadline=None)
@given(TURNS, TEXT)
def test_a_prompt_is_the_start_of_the_conversation_that_it_opens(turns, answer):
    prompt = render_prompt(turns, TOKENIZER)
    whole, learnt = render(Conversation((*turns, Turn("assistant", answer))), TOKENIZER)
    assert whole[: len(prompt)] == prompt
    rest = whole[len(prompt) :]
    assert TOKENIZER.decode(rest) == f"{answer}<|im_end|>\n"
    assert learnt[len(prompt) :] == [True] * (len(rest) - 1) + [False]


@settings(deadline=None)
@given(st.lists(TURNS.map(Conversation), max_size=5))
def test_many_are_rendered_like_one(conversations):
    one_by_one = [render(conversation, TOKENIZER) for conversation in conversations]
    assert list(render_all(conversations, TOKENIZER)) == one_by_one


def test_more_than_a_chunk_is_rendered_in_order():
    conversations = [Conversation((Turn("assistant", str(number)),)) for number in range(1200)]
    found = [learnt_text(*rendered) for rendered in render_all(conversations, TOKENIZER)]
    assert found == [f"{number}<|im_end|>" for number in range(1200)]


def test_thoughts_calls_and_their_results_are_written():
    ids, learnt = render(Conversation(TALK), TOKENIZER)
    text = TOKENIZER.decode(ids)
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "é<|im_end|>"}}\n</tool_call>'
    thought = "<think>\nAdd them.\n</think>\n\n"
    other = '<tool_call>\n{"name": "add", "arguments": {}}\n</tool_call>'
    assert learnt_text(ids, learnt) == (
        f"{thought}I add.\n{call}\n{other}<|im_end|>{call}<|im_end|>2<|im_end|>"
    )
    results = "<tool_response>\n2\n</tool_response>\n<tool_response>\n{}\n</tool_response>"
    assert f"<|im_start|>user\n{results}<|im_end|>\n" in text
    assert text.startswith("<|im_start|>system\nBe kind.\n\n# Tools\n\n")
    assert '\n{"name": "add", "说明": "加"}\n' in text
    assert ids.count(2) == 7


def test_a_tokenizer_without_chatml_s_tokens_is_refused():
    backend = Backend(models.WordLevel({"</s>": 0, "a": 1}, "</s>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(DataError, match=r"has no token <\|im_start\|>, which the chat template"):
        render(Conversation((Turn("assistant", "a"),)), Tokenizer(backend, "</s>"))


# The same template as Jinja


@settings(deadline=None)
@given(TURNS, st.booleans())
def test_the_jinja_template_writes_the_same(turns, as_prompt):
    ours, exported = (
        [span for span in (t.prompt_spans(turns) if as_prompt else t.spans(turns)) if span.text]
        for t in (CHATML, EXPORTED)
    )
    assert "".join(span.text for span in exported) == "".join(span.text for span in ours)
    controls = [[span.text for span in spans if span.control] for spans in (ours, exported)]
    assert controls[0] == controls[1]
    learnt = ["".join(span.text for span in spans if span.learnt) for spans in (ours, exported)]
    assert learnt[0] == learnt[1]


@pytest.mark.parametrize("turns", [TALK, TALK[1:], (Turn("system", "", TALK[0].extra), *TALK[1:])])
def test_the_jinja_template_writes_tools_and_thoughts_alike(turns):
    exported = own(CHAT_TEMPLATE)
    for end in range(1, len(turns) + 1):
        ours = "".join(span.text for span in CHATML.spans(turns[:end]))
        assert "".join(span.text for span in exported.spans(turns[:end])) == ours


@pytest.mark.slow
def test_transformers_renders_the_exported_template_alike(tmp_path):
    from transformers import AutoTokenizer

    TOKENIZER.save(tmp_path, CHAT_TEMPLATE)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for turns in (TALK[1:2], TALK, (*TALK[1:3], *TALK[1:2])):
        messages = [{"role": turn.role, "content": turn.content, **turn.extra} for turn in turns]
        tools = turns[0].extra.get("tools")
        text = theirs.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=True
        )
        assert text == "".join(span.text for span in CHATML.prompt_spans(turns))
    plain = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]
    turns = tuple(Turn(message["role"], message["content"]) for message in plain)
    ids = theirs.apply_chat_template(plain, tokenize=True, return_dict=False)
    assert ids == render(Conversation(turns), TOKENIZER)[0]


# The tokenizer's own template

LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
FORGETFUL = (  # Takes the thoughts out of all answers but the last.
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content and loop.last %}({{ m.reasoning_content }}){% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_answers_are_found_in_a_template_of_another_form():
    turns = (Turn("user", "a <|im_end|>"), Turn("assistant", " b "), Turn("user", "c"))
    ids, learnt = render(Conversation(turns), TOKENIZER, own(LLAMA, bos_token="<|im_start|>"))
    assert TOKENIZER.decode(ids) == (
        "<|im_start|><|user|>a <|im_end|><|im_end|><|assistant|>b<|im_end|><|user|>c<|im_end|>"
    )
    assert learnt_text(ids, learnt) == "b<|im_end|>"
    assert (ids.count(1), ids.count(2)) == (1, 3)


def test_an_answer_that_is_written_otherwise_later_is_learnt_as_it_stands():
    thinking = {"reasoning_content": "hm"}
    turns = (
        *(Turn("user", "a"), Turn("assistant", "b", thinking)),
        *(Turn("user", "c"), Turn("assistant", "d", thinking)),
    )
    ids, learnt = render(Conversation(turns), TOKENIZER, own(FORGETFUL))
    assert learnt_text(ids, learnt) == "b<|im_end|>(hm)d<|im_end|>"
    assert "assistant\nb<|im_end|>" in TOKENIZER.decode(ids)


def test_what_a_template_marks_is_learnt_and_of_a_turn_without_weight_nothing():
    marked = "{% generation %}{{ m.content }}!{% endgeneration %}"
    source = f"{{% for m in messages %}}[{{{{ m.role }}}}]{marked}{{% endfor %}}"
    for learnt_first, said in ((True, "a!b!"), (False, "b!")):
        turns = (Turn("assistant", "a", learnt=learnt_first), Turn("assistant", "b"))
        ids, learnt = render(Conversation(turns), TOKENIZER, own(source))
        assert TOKENIZER.decode(ids) == "[assistant]a![assistant]b!"
        assert learnt_text(ids, learnt) == said


THOUGHT = "{{ m.reasoning_content ~ '<|endoftext|>' if m.reasoning_content }}"


@pytest.mark.parametrize(
    ("turn", "ends"),
    [
        ("{{ m.content }}<|im_end|>", ("<|im_end|>",)),
        ("{{ m.content }}<|im_end|>\n<|endoftext|>", ("<|im_end|>",)),
        (  # Another token once more turns follow.
            "{{ m.content }}{{ '<|im_end|>' if loop.last else '<|endoftext|>' }}",
            ("<|im_end|>", "<|endoftext|>"),
        ),
        (  # Another token after a call.
            "{{ m.content }}{{ m.tool_calls }}"
            "{{ '<|endoftext|>' if m.tool_calls else '<|im_end|>' }}",
            ("<|im_end|>", "<|endoftext|>"),
        ),
        (  # As in gpt-oss: the token behind a thought does not end the answer.
            THOUGHT + "{{ m.content }}{{ '<|im_end|>' if loop.last else '<|endoftext|>' }}",
            ("<|im_end|>",),
        ),
        ("{{ m.content }}", ("<|im_start|>",)),  # As in GLM-4: the next turn ends it.
    ],
)
def test_generation_stops_at_every_token_that_ends_a_turn(turn, ends):
    template = own(f"{{% for m in messages %}}<|im_start|>{{{{ m.role }}}} {turn}{{% endfor %}}")
    assert template.turn_ends == ends
    assert stop_ids(TOKENIZER, template) >= {TOKENIZER.id_of(token) for token in ends}


@pytest.mark.parametrize("in_config", [False, True])
def test_a_template_is_found_beside_the_tokenizer(tmp_path, in_config):
    TOKENIZER.save(tmp_path, LLAMA if in_config else None)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    config |= {"bos_token": {"content": "<|im_start|>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    if not in_config:
        (tmp_path / "chat_template.jinja").write_text(LLAMA, encoding="utf-8")
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        found = TokenizerTemplate.load(path, Tokenizer.load(path))
        written = "".join(span.text for span in found.prompt_spans((Turn("user", "a"),)))
        assert written == "<|im_start|><|user|>a<|im_end|><|assistant|>"


def test_a_template_that_is_missing_or_broken_is_refused_with_a_sentence(tmp_path):
    TOKENIZER.save(tmp_path)
    with pytest.raises(DataError, match=r"^data.template: .* has no chat template .* chatml$"):
        TokenizerTemplate.load(tmp_path, Tokenizer.load(tmp_path))
    (tmp_path / "chat_template.jinja").write_text("{% if %}", encoding="utf-8")
    with pytest.raises(DataError, match=r"^data.template: .* cannot be used \(Expected"):
        TokenizerTemplate.load(tmp_path, Tokenizer.load(tmp_path))


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ messages[7].content + 'x' }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    ],
)
def test_a_template_that_refuses_or_reaches_out_ends_in_a_sentence(source):
    with pytest.raises(DataError, match="refuses a conversation of user"):
        own(source).spans((Turn("user", "a"),))


def test_jinja_is_not_imported_before_a_template_of_its_own_is_opened():
    code = "import sys, lmm_tui.data.chat.tokenizer_template; print('jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
