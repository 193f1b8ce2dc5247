"""Draws the pictures of `docs/decomposition.md`: `python docs/images/draw.py` writes them beside itself.

Each picture is its own card, light or dark as the reader's system is, so that its text is legible on any page.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

KERNEL, STRIDE, PADDING = 3, 2, 1
SIDE = 6  # of the grid; 8 padded
WINDOWS = (SIDE + 2 * PADDING - KERNEL) // STRIDE + 1
TAPS = [divmod(index, KERNEL) for index in range(KERNEL**2)]

STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328; }
text.small { font-size: 10px; }
text.title { font-weight: 600; font-size: 14px; }
text.centre { text-anchor: middle; }
.card { fill: #ffffff; stroke: #d0d7de; }
.cell { stroke: #8c959f; }
.none { fill: none; }
.plain { fill: #ffffff; }
.zero { fill: #eaeef2; }
.one { fill: #1f2328; }
.part00 { fill: #b6dcf5; }
.part01 { fill: #fbdf9d; }
.part10 { fill: #aee3cf; }
.part11 { fill: #eec6dc; }
.dashed { fill: none; stroke: #8c959f; stroke-dasharray: 3 3; }
.window { fill: none; stroke: #1f2328; stroke-width: 3; }
.dot { fill: #1f2328; }
.line { fill: none; stroke: #1f2328; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.card { fill: #0d1117; stroke: #30363d; }
.cell { stroke: #6e7681; }
.plain { fill: #0d1117; }
.zero { fill: #262c36; }
.one { fill: #e6edf3; }
.part00 { fill: #0f4c75; }
.part01 { fill: #6b4c00; }
.part10 { fill: #0b5643; }
.part11 { fill: #6d3155; }
.dashed { stroke: #6e7681; }
.window { stroke: #e6edf3; }
.dot { fill: #e6edf3; }
.line { stroke: #e6edf3; }
}
"""


def rect(x: float, y: float, width: float, height: float, style: str) -> str:
    """A rectangle."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" class="{style}"/>'


def text(x: float, y: float, words: str, style: str = "") -> str:
    """One line of text; y is its base line."""
    return f'<text x="{x:g}" y="{y:g}" class="{style}">{words}</text>'


def cell(x: float, y: float, side: float, style: str, words: str = "", small: bool = True) -> list[str]:
    """A square with text in its middle."""
    label = text(x + side / 2, y + side / 2 + 4, words, "centre small" if small else "centre")
    return [rect(x, y, side, side, f"cell {style}"), *([label] if words else [])]


def arrow(x: float, y: float, length: float) -> str:
    """A horizontal arrow from (x, y); to the left where the length is negative."""
    end, barb = x + length, -6 if length > 0 else 6
    return f'<path class="line" d="M{x:g} {y:g}H{end:g}m{barb} -4l{-barb} 4l{barb} 4"/>'


def part(row: int, column: int) -> str:
    """The style of a position: its row and column modulo the stride."""
    return f"part{row % STRIDE}{column % STRIDE}"


def picture(width: int, height: int, title: str, items: Iterable[str]) -> str:
    """A whole SVG file."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">'
    card = f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" class="card"/>'
    return "\n".join([head, f"<title>{title}</title>", f"<style>{STYLE}</style>", card, *items, "</svg>"]) + "\n"


def parity_split() -> str:
    """A padded grid, its four parts, and the slice of one part that each tap is."""
    padded, fine = SIDE + 2 * PADDING, (SIDE + 2 * PADDING) // STRIDE
    out = [text(20, 30, "the padded grid and one window", "title")]
    left, top, side = 20, 48, 34
    for row in range(padded):
        for column in range(padded):
            inside = all(PADDING <= at < PADDING + SIDE for at in (row, column))
            words = f"{row},{column}" if inside else "0"
            out += cell(left + column * side, top + row * side, side, part(row, column), words)
    out.append(rect(left + side, top + side, SIDE * side, SIDE * side, "none line"))
    start = STRIDE * side
    out.append(rect(left + start, top + start, KERNEL * side, KERNEL * side, "window"))
    out.append(text(20, 342, "the thin frame is the grid without its padding", "small"))

    out.append(text(334, 30, "its four parts", "title"))
    side = 26
    for row_part in range(STRIDE):
        for column_part in range(STRIDE):
            x, y = 334 + column_part * 122, 66 + row_part * 142
            out.append(text(x, y - 6, f"part ({row_part}, {column_part})", "small"))
            for row in range(fine):
                for column in range(fine):
                    words = f"{row * STRIDE + row_part},{column * STRIDE + column_part}"
                    out += cell(x + column * side, y + row * side, side, part(row_part, column_part), words)
    out.append(text(334, 342, "every second row, every second column", "small"))

    out.append(text(612, 30, "the nine taps, a slice each", "title"))
    side = 17
    for i, j in TAPS:
        x, y = 612 + j * 84, 66 + i * 92
        (down, row_part), (right, column_part) = divmod(i, STRIDE), divmod(j, STRIDE)
        out.append(text(x, y - 5, f"tap ({i}, {j})", "small"))
        for row in range(fine):
            for column in range(fine):
                taken = down <= row < down + WINDOWS and right <= column < right + WINDOWS
                out += cell(x + column * side, y + row * side, side, part(row_part, column_part) if taken else "plain")
        size = WINDOWS * side
        out.append(rect(x + right * side, y + down * side, size, size, "line"))
        dot = (x + (right + 1.5) * side, y + (down + 1.5) * side)
        out.append(f'<circle cx="{dot[0]:g}" cy="{dot[1]:g}" r="3.5" class="dot"/>')
    out.append(text(612, 342, "dot: what the outlined window reads", "small"))
    return picture(860, 360, "An 8 by 8 padded grid split by row and column parity", out)


def fold_overlap() -> str:
    """Which taps, shifted how far, add up to each part of the folded grid."""
    out = [text(20, 30, "each part of the result is a sum of shifted taps", "title")]
    side, y = 20, 84
    for row_part in range(STRIDE):
        for column_part in range(STRIDE):
            terms = []
            for i, j in TAPS:
                (down, a), (right, b) = divmod(i - PADDING, STRIDE), divmod(j - PADDING, STRIDE)
                if (a, b) == (row_part, column_part):
                    terms.append((i, j, down, right))
            out.append(text(20, y + 28, f"part ({row_part}, {column_part})"))
            out.append(text(20, y + 44, "1 tap" if len(terms) == 1 else f"{len(terms)} taps", "small"))
            for index, (i, j, down, right) in enumerate(terms):
                x = 134 + index * 112
                out.append(text(x - 31, y + 36, "+" if index else "=", "centre"))
                out.append(text(x, y - 24, f"tap ({i}, {j})", "small"))
                for row in range(WINDOWS):
                    for column in range(WINDOWS):
                        at_x, at_y = x + column * side, y + row * side
                        kept = row < WINDOWS + down and column < WINDOWS + right
                        style = part(row_part, column_part) if kept else "zero"
                        out += cell(at_x, at_y, side, style, "" if kept else "0")
                if down or right:
                    size = WINDOWS * side
                    out.append(rect(x + right * side, y + down * side, size, size, "dashed"))
            y += 112

    left, top, side = 592, 62, 38
    out.append(text(left, 30, "the parts interleaved", "title"))
    for row in range(SIDE):
        for column in range(SIDE):
            reached = [_windows_at(row), _windows_at(column)]
            words = str(reached[0] * reached[1])
            out += cell(left + column * side, top + row * side, side, part(row, column), words, small=False)
    notes = [
        "number: how many windows reach the position.",
        "Past the last row and column no window starts:",
        "there the shifted taps bring in zeros.",
        "",
        "dashed: the whole tap, shifted. What lies outside",
        "the frame fell on padding: fold drops it too.",
    ]
    out += [text(left, top + SIDE * side + 28 + 17 * line, words, "small") for line, words in enumerate(notes)]
    return picture(860, 506, "The taps that add up to each part of a folded grid", out)


def _windows_at(position: int) -> int:
    """Windows along one side of the grid that have a tap on a position."""
    return sum(0 <= position + PADDING - STRIDE * window < KERNEL for window in range(WINDOWS))


def one_hot() -> str:
    """One channel, the nine kernels with a single one, and the nine channels that they make of it."""
    out = [text(20, 30, "one channel", "title")]
    left, top, side = 20, 66, 30
    for row in range(SIDE):
        for column in range(SIDE):
            at = row + PADDING, column + PADDING
            out += cell(left + column * side, top + row * side, side, part(*at), f"{at[0]},{at[1]}")
    start = (STRIDE - PADDING) * side
    out.append(rect(left + start, top + start, KERNEL * side, KERNEL * side, "window"))
    out.append(text(20, 266, "numbered as in the padded grid", "small"))

    out.append(text(330, 30, "nine fixed kernels", "title"))
    side = 15
    for i, j in TAPS:
        x, y = 330 + j * 66, 66 + i * 68
        for row in range(KERNEL):
            for column in range(KERNEL):
                out += cell(x + column * side, y + row * side, side, "one" if (row, column) == (i, j) else "plain")
    out.append(text(330, 266, "a single one each, zeros elsewhere", "small"))

    out.append(text(636, 30, "nine channels, a tap each", "title"))
    side = 19
    for i, j in TAPS:
        x, y = 636 + j * 70, 62 + i * 70
        for row in range(WINDOWS):
            for column in range(WINDOWS):
                words = f"{row * STRIDE + i},{column * STRIDE + j}"
                out += cell(x + column * side, y + row * side, side, part(i, j), words)
    out.append(text(636, 282, "the middle of each: the outlined window", "small"))

    for x in (222, 538):
        out.append(arrow(x, 130, 76))
        out.append(arrow(x + 76, 190, -76))
    for x, length in ((222, 76), (538, 76)):
        out.append(text(x + length / 2, 120, "unfold", "centre small"))
        out.append(text(x + length / 2, 206, "fold", "centre small"))
    out.append(text(20, 316, "unfold: conv2d of each channel apart (groups = C), stride 2, padding 1."))
    out.append(text(20, 336, "fold: conv_transpose2d with the same kernels; where windows overlap it adds them up."))
    return picture(860, 356, "Unfold and fold as depthwise convolutions with one-hot kernels", out)


def main() -> None:
    """Write every picture."""
    folder = Path(__file__).parent
    for name, draw in (("parity-split", parity_split), ("fold-overlap", fold_overlap), ("one-hot", one_hot)):
        (folder / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
