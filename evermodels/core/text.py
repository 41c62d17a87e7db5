"""Text that came from elsewhere, made harmless for where it goes: a terminal, a line, a Markdown page, a CSV table.

A checkpoint's class names, scores and sentences are somebody else's. Whoever shows them picks the function of the
place; what a character could do there (end a line, move the cursor, turn the writing direction, start a heading or a
formula) is shown as a character instead.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

LONGEST_LABEL = 200
LABEL_RULE = f"a name of 1 to {LONGEST_LABEL} visible characters in one line"

_BREAKS = re.compile("[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
_NOT_PLAIN = re.compile(r"[^ -~]")
_JOINERS = "\u200c\u200d"  # part of how Persian, Indic scripts and emoji are written
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}

_MARKUP = re.compile(r"[\\`*\[\]<|~]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)")
_PARAGRAPH_MARKUP = re.compile(r"<|\||!(?=\[)")  # a picture would be fetched from elsewhere
_BLOCK_START = re.compile(r"(?:[#>+=|-]|\*(?=\s|\*\s*\*)|_(?=\s*_\s*_)|~~~|```|\[(?=[^\]]*\]:))")
_LIST_START = re.compile(r"(\d+)([.)])(?=\s|$)")


def visible(text: str) -> str:
    r"""Return text of several lines for a terminal: what would act on it, or hide, stands there as ``\\u001b``.

    Args:
        text: The text; its line ends stay.

    Example:
        >>> print(visible("red:\x1b[31m\nturned:\u202e"))
        red:\u001b[31m
        turned:\u202e
    """
    return _NOT_PLAIN.sub(_shown, text.replace("\r\n", "\n").replace("\t", " "))


def one_line(value: object) -> str:
    r"""Return a value as text of one line for a terminal.

    Args:
        value: The text, or what becomes one by ``str``.

    Example:
        >>> one_line("calm\n## Scores\x07")
        'calm ## Scores\\u0007'
    """
    return visible(_BREAKS.sub(" ", str(value)).strip())


def markdown_name(value: object) -> str:
    r"""Return a name for Markdown, in a cell, a heading or a list: shown as it is, without any effect.

    Args:
        value: The name, or what becomes one by ``str``.

    Example:
        >>> print(markdown_name("a|b\n# <b>c</b>"))
        a\|b # \<b>c\</b>
    """
    return _as_inline(_MARKUP.sub(r"\\\g<0>", one_line(value)))


def markdown_text(value: object) -> str:
    r"""Return free text as one paragraph or cell of Markdown: inline markup stays, blocks, pictures and HTML do not.

    Args:
        value: The text, or what becomes one by ``str``.

    Example:
        >>> print(markdown_text("# Results of `ever`\n\n---\n<script>"))
        \# Results of `ever` --- \<script>
    """
    return _as_inline(_PARAGRAPH_MARKUP.sub(r"\\\g<0>", one_line(value)))


def json_text(value: Any, indent: int | None = None) -> str:
    r"""Return JSON for people, in any script, in which hidden characters are written as escapes.

    Args:
        value: Plain JSON.
        indent: Blanks per level; ``None`` for one line.

    Example:
        >>> print(json_text({"é": "\u202e"}))
        {"é": "\u202e"}
    """
    return visible(json.dumps(value, indent=indent, ensure_ascii=False))


def csv_cell(value: Any) -> Any:
    """Return a value for a CSV table: text that a spreadsheet would take for a formula gets an apostrophe before it.

    Args:
        value: Text; anything else comes back as it is.

    Example:
        >>> csv_cell("=1+1"), csv_cell("calm"), csv_cell(-0.5)
        ("'=1+1", 'calm', -0.5)
    """
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def csv_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table's row with its keys and values made harmless by :func:`csv_cell`.

    Args:
        row: Values by column.

    Example:
        >>> csv_row({"start": 0.0, "@calm": 0.5})
        {'start': 0.0, "'@calm": 0.5}
    """
    return {csv_cell(key): csv_cell(value) for key, value in row.items()}


def is_label(text: object) -> bool:
    r"""Return whether a text may name a class: what :data:`LABEL_RULE` says.

    Args:
        text: The name.

    Example:
        >>> is_label("rest & neutral"), is_label(""), is_label("a\nb"), is_label(" a"), is_label("\u200d")
        (True, False, False, False, False)
    """
    return (
        isinstance(text, str)
        and 0 < len(text) <= LONGEST_LABEL
        and one_line(text) == text
        and bool(text.strip(_JOINERS + " "))
    )


def doubled(names: Iterable[str]) -> list[str]:
    r"""Return the names that stand there more than once for the eye: composed and decomposed letters are the same.

    Args:
        names: The names.

    Example:
        >>> doubled(["a", "b", "a", "\u00e9", "e\u0301"]) == ["a", "e\u0301"]
        True
    """
    seen: set[str] = set()
    again = []
    for name in names:
        plain = unicodedata.normalize("NFC", name)
        if plain in seen:
            again.append(name)
        seen.add(plain)
    return again


def _shown(match: re.Match[str]) -> str:
    character = match[0]
    if character == "\n" or character in _JOINERS or unicodedata.category(character) not in _HIDDEN:
        return character
    return json.dumps(character)[1:-1]


def _as_inline(text: str) -> str:
    """Escape what makes a block of the line that begins with this text."""
    text = _LIST_START.sub(r"\1\\\2", text, count=1) if _LIST_START.match(text) else text
    return f"\\{text}" if _BLOCK_START.match(text) else text
