"""Text from elsewhere: no place that shows it obeys it."""

import csv
import io
import sys
import unicodedata

import pytest
from hypothesis import given, settings, strategies as st

from evermodels.core.errors import ConfigError, boundary
from evermodels.core.text import (
    csv_cell,
    csv_row,
    doubled,
    is_label,
    json_text,
    markdown_name,
    markdown_text,
    one_line,
    visible,
)

HOSTILE = (
    "\x1b[2J\x1b]0;title\x07",
    "a\rb",
    "\x9b31m",
    "a\u202eb\u202c",
    "\u2066x\u2069",
    "zero\u200bwidth",
    "\ufefftext",
    "\ud800",
    "\U000e0041tag",
    "a\u2028b",
    "a\x85b",
    "a\n\n## Scores\n",
    "\0",
)
ANY = st.text(st.characters(), max_size=30)  # half surrogates too


def hidden(text):
    return [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\u200c\u200d"]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_nothing_hidden_is_left(text):
    for function in (one_line, markdown_name, markdown_text, csv_cell):
        assert not hidden(function(text)), function
        function(text).encode("utf-8")
    assert set(hidden(visible(text))) <= {"\n"}
    assert not is_label(text)
    assert not hidden(json_text({text: text}))


def test_nothing_is_lost():
    """What is taken out of effect is shown, so that a reader sees that something was there."""
    assert one_line("a\x1b[31mb\u202ec") == "a\\u001b[31mb\\u202ec"
    fine = "Ruhe, 休息, हिन्दी, x\u200cy, 👩\u200d💻"
    assert one_line(fine) == fine
    every = "".join(map(chr, range(0x20, sys.maxunicode, 7)))
    assert len(one_line(every)) >= len(every) - 10


@settings(deadline=None)  # a busy machine is no fault of the text
@given(text=ANY)
def test_any_text(text):
    line = one_line(text)
    assert one_line(line) == line and not hidden(line)
    assert is_label(text) == (line == text and bool(text.strip("\u200c\u200d ")))
    for function in (markdown_name, markdown_text):
        assert not hidden(function(text))
        assert not function(text).startswith(("#", ">", "- ", "+ ", "* ", "```", "~~~", "---", "===", "|", "    "))
        assert "<" not in function(text).replace("\\<", "")


@pytest.mark.parametrize(
    ("text", "name", "paragraph"),
    [
        ("rest & neutral", "rest & neutral", "rest & neutral"),
        ("ever_tiny_quadrant", "ever_tiny_quadrant", "ever_tiny_quadrant"),
        ("`code` and *it*", r"\`code\` and \*it\*", "`code` and *it*"),
        ("`code` first", r"\`code\` first", "`code` first"),
        ("[a](http://b)", r"\[a\](http://b)", "[a](http://b)"),
        ("[a]: http://b", r"\[a\]: http://b", r"\[a]: http://b"),
        ("1. one", r"1\. one", r"1\. one"),
        ("2.5 Hz", "2.5 Hz", "2.5 Hz"),
        ("- x", r"\- x", r"\- x"),
        ("* x", r"\* x", r"\* x"),
        ("***", r"\*\*\*", r"\***"),
        ("_ _ _", r"\_ \_ \_", r"\_ _ _"),
        ("```python", r"\`\`\`python", r"\```python"),
        ("a | b", r"a \| b", r"a \| b"),
        ("&lt;b&gt;", r"\&lt;b\&gt;", "&lt;b&gt;"),
        ("---", r"\---", r"\---"),
        ("![x](http://a/b.png)", r"!\[x\](http://a/b.png)", r"\![x](http://a/b.png)"),
    ],
)
def test_markdown(text, name, paragraph):
    assert (markdown_name(text), markdown_text(text)) == (name, paragraph)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\n=1", " =1", "'=1"])
def test_a_formula_is_text(text):
    assert csv_cell(text).startswith("'")
    stream = io.StringIO(newline="")
    row = csv_row({text: text, "p": -0.25})
    writer = csv.DictWriter(stream, list(row))
    writer.writeheader()
    writer.writerow(row)
    header, line = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert header[0].startswith("'") and line[0].startswith("'") and line[1] == "-0.25"


def test_labels():
    assert all(map(is_label, ["a", "start", "stop", "top", "=1", "x" * 200, "arithmetic & smiling", "é"]))
    assert not any(map(is_label, ["", " ", "a ", "\tb", "x" * 201, 3, None, "\u200d", "\u200c \u200d"]))
    assert doubled(["a", "A"]) == []


def test_messages_do_not_act_on_a_terminal():
    with pytest.raises(ConfigError) as caught:
        with boundary(ConfigError, "a.edf\x1b[2J: it cannot be read", "Copy\u202e it."):
            raise KeyError("x")
    assert str(caught.value) == "a.edf\\u001b[2J: it cannot be read (KeyError: 'x'). Copy\\u202e it."
    assert str(ConfigError("two\nlines")) == "two\nlines"
    huge = str(ConfigError("\x1b" * 10**7 + "way out"))
    assert len(huge) < 5000 and huge.endswith("way out")
