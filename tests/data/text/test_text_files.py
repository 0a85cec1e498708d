"""Promises of reading the user's files, most of them about what is wrong with them."""

import json
import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lmm_tui.data.errors import DataError
from lmm_tui.data.text.files import FileText
from lmm_tui.data.text.json_rows import BadLine, Skipped
from lmm_tui.data.text.locate import find

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def read(*paths):
    skipped = Skipped()
    text = FileText(list(paths))
    return list(text.documents(skipped)), skipped, text


def test_a_pipe_among_the_files_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    text = FileText(find(str(tmp_path / "*.txt")))
    with pytest.raises(DataError, match=r"a\.txt: cannot be read .*is a pipe"):
        list(text.documents(Skipped()))
    with pytest.raises(DataError, match=r"a\.txt: cannot be read .*is a pipe"):
        text.identity(lambda *_: None)


def test_a_folder_gives_its_text_files_recursively_and_sorted(tmp_path):
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    wanted = [tmp_path / "a.txt", tmp_path / "b" / "c" / "d.jsonl", tmp_path / "b" / "e.TXT"]
    for path in [*wanted, tmp_path / "no.md", tmp_path / ".hidden" / "f.txt"]:
        path.write_text("x", encoding="utf-8")
    assert find(str(tmp_path)) == wanted


def test_a_glob_gives_files_and_what_is_in_matching_folders_once(tmp_path):
    (tmp_path / "one").mkdir()
    for name in ("one/a.txt", "one/b.jsonl", "c.txt"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    assert find(f"{tmp_path}/**") == [
        *(tmp_path / name for name in ("c.txt", "one/a.txt", "one/b.jsonl"))
    ]
    assert find(f"{tmp_path}/*/*.txt") == [tmp_path / "one" / "a.txt"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path):
    path = tmp_path / "what[1].txt"
    path.write_text("x", encoding="utf-8")
    assert find(str(path)) == [path]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nowhere.txt", r"no file, folder or glob matches '.*nowhere.txt'"),
        ("*.jsonl", r"no file, folder or glob matches"),
        ("empty", r"the folder '.*empty' holds no .txt / .jsonl / .json / .csv"),
        ("notes.md", r"'.*notes.md' is no .txt / .jsonl / .json / .csv"),
        ("\0", r"no file, folder or glob matches"),
    ],
)
def test_what_cannot_be_a_source_is_refused_with_a_sentence(tmp_path, source, sentence):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match=f"^data.source: {sentence}"):
        find(f"{tmp_path}/{source}")


def test_a_name_that_no_file_can_have_is_refused():
    with pytest.raises(DataError, match=r"^data.source: 'x+' cannot be read \(File name too long"):
        find("x" * 300)


def test_text_files_lose_byte_order_mark_and_carriage_returns(tmp_path):
    path = tmp_path / "windows.txt"
    path.write_bytes("\ufeffone\r\ntwo\r\n".encode())
    assert read(path)[0] == ["one\ntwo"]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_invalid_utf8_is_placed_by_line_and_byte(tmp_path, mark):
    path = tmp_path / "latin.txt"
    content = mark + "ä first\nsecond ".encode() + b"caf\xe9\n"
    path.write_bytes(content)
    with pytest.raises(DataError) as refusal:
        read(path)
    byte = content.index(b"\xe9")
    assert str(refusal.value).startswith(
        f"{path}:2: not UTF-8 text (byte {byte} of the file); convert"
    )


def test_invalid_utf8_on_a_marked_first_line_is_placed_too(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"\xef\xbb\xbfab\xe9\n")
    with pytest.raises(DataError, match=r":1: not UTF-8 text \(byte 5 of the file\)"):
        read(path)


def test_good_jsonl_lines_are_read_and_bad_ones_reported_by_line(tmp_path):
    path = tmp_path / "some.jsonl"
    lines = [
        b'\xef\xbb\xbf{"text": "one", "more": 1}',
        b"",
        b"{broken",
        b'{"txt": "two"}',
        b'{"text": 3}',
        b'["text"]',
        b'{"text": "caf\xe9"}',
        b'{"text": "\\ud800"}',
        b'  {"text": "four"}  ',
        b'{"text": "  "}',
        b'{"text": "five"}',
    ]
    path.write_bytes(b"\n".join(lines))
    found, skipped, text = read(path)
    assert found == ["one", "four", "five"]
    assert (skipped.lines, skipped.count) == (10, 6)
    reasons = [text.locate(bad) for bad in skipped.first]
    assert reasons[0].startswith(f"{path}:3: not JSON (")
    assert reasons[1:5] == [
        f'{path}:4: no "text"; found "txt"',
        f'{path}:5: "text" is not a string',
        f"{path}:6: not a JSON object",
        f"{path}:7: not UTF-8 (byte 13 of the line)",
    ]
    assert reasons[5].startswith(f"{path}:8: not JSON (")


GOOD = TEXT.filter(str.strip).map(lambda text: (json.dumps({"text": text}).encode(), text))
BAD = st.one_of(
    st.binary(min_size=1, max_size=30).map(lambda raw: b"{" + raw.replace(b"\n", b"")),
    st.sampled_from([b"[" * 2000, b"NaN", b'{"text": null}', b'{"text": {"text": ""}}', b'"x"']),
).map(lambda raw: (raw, None))


@settings(deadline=None)
@given(st.lists(st.one_of(GOOD, BAD), max_size=30))
@example([(b"{\t", None), (b'{"text": "one"}', "one")])
@example([(b"{", None)])
def test_hostile_jsonl_lines_never_cost_a_good_one(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("hostile") / "lines.jsonl"
    path.write_bytes(b"\n".join(raw for raw, _ in lines))
    found, skipped, _ = read(path)
    assert found == [text for _, text in lines if text is not None]
    assert skipped.count == sum(text is None for _, text in lines)
    assert [bad.line for bad in skipped.first] == [
        number for number, (_, text) in enumerate(lines, start=1) if text is None
    ]


def test_bad_lines_are_all_counted_and_the_first_hundred_kept():
    skipped = Skipped(lines=1000)
    for number in range(250):
        skipped.add(BadLine(0, number, "why"))
    assert (skipped.count, len(skipped.first)) == (250, 100)


@pytest.mark.parametrize(("bad", "refused"), [(0, False), (1, False), (2, True)])
def test_up_to_one_line_in_a_hundred_may_be_broken(tmp_path, bad, refused):
    path = tmp_path / "some.jsonl"
    path.write_text('{"text": "x"}\n' * (100 - bad) + "{\n" * bad, encoding="utf-8")
    assert read(path)[1].too_many is refused


def test_identity_follows_contents_and_order_but_not_names(tmp_path):
    def identity(**files):
        folder = tmp_path / f"at{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name.replace("_", ".")).write_text(content, encoding="utf-8")
        return FileText(find(str(folder))).identity(lambda *_: None)

    base = identity(a_txt="one", b_txt="two")
    assert identity(c_txt="one", d_txt="two") == base
    others = [
        identity(a_txt="two", b_txt="one"),
        identity(a_txt="onetwo"),
        identity(a_txt="one", b_txt="twO"),
        identity(a_jsonl="one", b_txt="two"),
    ]
    assert len({base, *others}) == 5


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "growing.txt"
    path.write_text("one", encoding="utf-8")
    text = FileText([path])
    path.write_text("one and two", encoding="utf-8")
    with pytest.raises(DataError, match=r"growing.txt: changed while it was read"):
        list(text.documents(Skipped()))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    path = tmp_path / "secret.txt"
    path.write_text("x", encoding="utf-8")
    path.chmod(0)
    with pytest.raises(DataError, match=r"secret.txt: cannot be read \(Permission denied\)"):
        read(path)


def test_a_file_that_vanishes_is_refused(tmp_path):
    path = tmp_path / "gone.txt"
    path.write_text("x", encoding="utf-8")
    text = FileText([path])
    path.unlink()
    with pytest.raises(DataError, match=r"gone.txt: cannot be read \(No such file"):
        text.identity(lambda *_: None)
