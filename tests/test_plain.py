"""Whatever names and files hold, what is printed or reported of it moves no cursor and is seen."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Sequence
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from volo_edge import plain
from volo_edge.console import Console
from volo_edge.report import plots

# any text, and often what a terminal obeys or nobody sees
NASTY = "\x00\x07\x1b\n\r\t\x7f\x85\x9b\u061c\u200b\u200d\u202e\u2028\u2066\ufeff\U000e0041\udc80"
ANY = st.text(st.one_of(st.characters(exclude_categories=()), st.sampled_from(NASTY + "$[]`|:<&*")), max_size=20)


def seen(text: str) -> bool:
    """Whether all of `text` shows, and nothing in it moves others."""
    return not any(unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") for one in text)


@given(ANY)
def test_a_line_is_one_and_all_of_it_is_seen(text: str) -> None:
    shown = plain.line(text)
    assert seen(shown)
    assert shown == text or not seen(text)


def test_what_is_shown() -> None:
    assert plain.line("a\x1b[2J\u202eb\n\udcff\U000e0041") == r"a\x1b[2J\u202eb\n\udcff\U000e0041"
    assert plain.line("caf\xe9 \u65e5\u672c C:\\x \u2603") == "caf\xe9 \u65e5\u672c C:\\x \u2603"


@given(st.recursive(ANY | st.floats() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(ANY, inner)))
def test_json_is_safe_to_show_and_says_the_same(values: object) -> None:
    text = plain.as_json(values)
    assert seen(text.replace("\n", ""))
    text.encode()
    assert json.loads(text) == _as_json_has_it(values)


def _as_json_has_it(values: object) -> object:
    if isinstance(values, str):
        return "".join(f"\\u{ord(one):x}" if unicodedata.category(one) == "Cs" else one for one in values)
    if isinstance(values, float):
        return values if abs(values) < float("inf") else None
    if isinstance(values, dict):
        return {_as_json_has_it(key): _as_json_has_it(value) for key, value in values.items()}
    return [_as_json_has_it(value) for value in values] if isinstance(values, list) else values


def test_half_a_pair_and_no_number_in_json() -> None:
    assert json.loads(plain.as_json({"a\udcff": [float("inf")]})) == {"a\\udcff": [None]}


@given(texts=st.lists(ANY, min_size=1, max_size=3))
def test_all_that_a_console_prints(texts: Sequence[str]) -> None:
    out, err = io.StringIO(), io.StringIO()
    console = Console(out, err, json=False)
    for text in texts:
        console.say(text)
        console.note(text)
    lines = [*out.getvalue().split("\n"), *err.getvalue().split("\n")]
    assert len(lines) == 2 * (len(texts) + 1)
    with console.progress() as steps:
        for text in texts:
            with steps.step(text, 2) as advance:
                advance()
    console.table(("column",), [(text,) for text in texts])
    assert all(seen(line) for line in (out.getvalue() + err.getvalue()).split("\n"))


def test_no_text_is_markup() -> None:
    out = io.StringIO()
    Console(out, out, json=False).table(("column",), [("[red]a[/red] :cat: [/nothing]",)])
    assert "[red]a[/red] :cat: [/nothing]" in out.getvalue()


class _Text(HTMLParser):
    """Text of a document, and how many elements are in it."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.elements = "", 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.elements += 1

    def handle_data(self, data: str) -> None:
        self.text += data


@given(ANY)
def test_a_picture_has_text_as_text(name: str) -> None:
    parser = _Text()
    parser.feed(plots._text(0, 0, name, "end"))
    parser.close()
    assert (parser.elements, parser.text) == (1, plain.line(name))


@given(ANY)
def test_markdown_has_text_as_text(name: str) -> None:
    """Read back by the rules: a backslash takes a character's meaning, a span of code ends with its own fence."""
    shown = plain.markdown(name)
    assert seen(shown)
    read, rest = "", shown
    while rest:
        literal = rest[0] == "\\"
        assert literal or rest[0] not in "`*_[]<>|~&"
        read += rest[1 if literal else 0]
        rest = rest[2 if literal else 1 :]
    assert read == plain.line(name)


def test_code_keeps_the_blanks_at_both_ends() -> None:
    """GitHub leaves out one at each end where both have one."""
    assert plain.code(" a ") == "`  a  `" and plain.code("a b") == "`a b`"


@given(ANY)
def test_code_has_text_as_text(name: str) -> None:
    shown = plain.code(name)
    fence = shown[: len(shown) - len(shown.lstrip("`"))]
    assert seen(shown) and fence and shown.endswith(fence)
    inside = shown[len(fence) : -len(fence)]
    assert len(fence) not in map(len, "".join(one if one == "`" else " " for one in inside).split())
    assert all(before == "\\" for before, one in zip(" " + inside, inside, strict=False) if one == "|")
    assert inside.strip().replace("\\|", "|") == plain.line(name).strip().replace("\\|", "|")
    if inside.startswith(" ") and inside.endswith(" ") and inside.strip():  # which GitHub leaves out, one of each
        inside = inside[1:-1]
    assert inside.replace("\\|", "|") == plain.line(name).replace("\\|", "|") or not name.strip()
