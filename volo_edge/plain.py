"""Text of others - names in files, labels, what libraries say - as it may stand in a line, in JSON or in Markdown.

A label may hold what moves a terminal's cursor, turns the direction of writing round or is not seen at all. Such
characters are shown as Python writes them, "\\x1b", so that a person sees what is there and a terminal obeys nobody.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

# Unicode's general categories: control, format (direction, zero width, tags), half of a pair, ends of lines
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&])")


def line(text: str) -> str:
    """`text` in one line, with every character in it that shows nothing, or moves others, written as an escape.

    >>> line("cat\\x1b[2J")
    'cat\\\\x1b[2J'
    """
    return text if text.isprintable() else "".join(_escaped(one) if _unseen(one) else one for one in text)


def as_json(values: object) -> str:
    """`values` as indented JSON that is safe to show: characters as in `line` are escaped the way JSON does it.

    A number that is not finite is null. Half of a surrogate pair, which stands for a byte of a file name that is no
    UTF-8 and which no reader takes, is the text that `line` makes of it.
    """
    text = json.dumps(_finite(values), indent=2, ensure_ascii=False, allow_nan=False)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(_json_escaped(one) if one != "\n" and _unseen(one) else one for one in text)


def markdown(text: str) -> str:
    """`text` as GitHub's Markdown shows it literally, in a paragraph or in a table's cell."""
    return _MARKDOWN.sub(r"\\\1", line(text))


def code(text: str) -> str:
    """`text` as a span of code in GitHub's Markdown, in a paragraph or in a table's cell."""
    text = line(text).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    blank = " " if len(fence) > 1 or text != text.strip() or not text else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def _unseen(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _json_escaped(character: str) -> str:
    if unicodedata.category(character) == "Cs":
        return "\\" + _escaped(character)
    return json.dumps(character)[1:-1]


def _finite(values: object) -> Any:
    """`values` with None for numbers that are not finite, which JSON has no word for."""
    if isinstance(values, float):
        return values if math.isfinite(values) else None
    if isinstance(values, Mapping):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_finite(value) for value in values]
    return values
