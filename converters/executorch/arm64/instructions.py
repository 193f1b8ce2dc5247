"""Which instructions qemu computed, and how many: read from its log of what it translated and executed.

The log's raw instruction words are decoded, not its text, which differs between versions and disassemblers. The runner
marks where an inference begins and ends with two hints that mean nothing to a processor.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from volo_edge.errors import RequestError

BEGIN, END = 0xD5032C9F, 0xD5032CBF  # hint #100 and hint #101


@dataclass(frozen=True)
class Pattern:
    """Instruction words that are one instruction in one form: those of which the bits in `mask` are `value`."""

    mask: int
    value: int

    def matches(self, word: int) -> bool:
        return word & self.mask == self.value


_THREE, _ELEMENT, _WHOLE, _TILE = 0xBFE0FC00, 0xBFC0F400, 0xFFE0FC00, 0xFFE0001C
PRODUCTS: dict[str, tuple[Pattern, ...]] = {  # Arm Architecture Reference Manual, C4.1: of vectors, of an element
    # 8-bit and 16-bit integers
    "smull": (Pattern(_THREE, 0x0E20C000),),  # 8 bits to 16
    "smlal": (Pattern(_THREE, 0x0E208000), Pattern(_THREE, 0x0E608000), Pattern(_ELEMENT, 0x0F402000)),
    "sdot": (Pattern(_THREE, 0x0E809400), Pattern(_ELEMENT, 0x0F80E000)),
    "udot": (Pattern(_THREE, 0x2E809400), Pattern(_ELEMENT, 0x2F80E000)),
    "usdot": (Pattern(_THREE, 0x0E809C00), Pattern(_ELEMENT, 0x0F80F000)),
    "sudot": (Pattern(_ELEMENT, 0x0F00F000),),
    "smmla": (Pattern(_WHOLE, 0x4E80A400),),
    "ummla": (Pattern(_WHOLE, 0x6E80A400),),
    "usmmla": (Pattern(_WHOLE, 0x4E80AC00),),
    "smopa": (Pattern(_TILE, 0xA0800000),),
    "umopa": (Pattern(_TILE, 0xA1A00000),),
    "usmopa": (Pattern(_TILE, 0xA1800000),),
    "sumopa": (Pattern(_TILE, 0xA0A00000),),
    "sdot-sve": (Pattern(_WHOLE, 0x44800000),),
    "smmla-sve": (Pattern(_WHOLE, 0x45009800),),
    # floating point
    "fmla": (Pattern(_THREE, 0x0E20CC00), Pattern(_ELEMENT, 0x0F801000)),
    "fmla-fp16": (Pattern(_THREE, 0x0E400C00), Pattern(_ELEMENT, 0x0F001000)),
    "fmlal": (Pattern(_THREE, 0x0E20EC00), Pattern(_ELEMENT, 0x0F800000)),
    "bfdot": (Pattern(_THREE, 0x2E40FC00), Pattern(_ELEMENT, 0x0F40F000)),
    "bfmmla": (Pattern(_WHOLE, 0x6E40EC00),),
    "bfmlal": (Pattern(_THREE, 0x2EC0FC00), Pattern(_ELEMENT, 0x0FC0F000)),
    "fmopa": (Pattern(_TILE, 0x80800000),),
    "fmopa-fp16": (Pattern(_TILE, 0x81A00000),),
    "bfmopa": (Pattern(_TILE, 0x81800000),),
    "fmla-sve": (Pattern(0xFFE0E000, 0x65A00000), Pattern(_WHOLE, 0x64A00000)),
}

# Of qemu 7.2 and 10: "0x5500002cc0:  d5032c9f  hint #0x64"; where it has no disassembler, the address, and in a line of
# its own "OBJD-T: " with the block's bytes as they lie in memory.
_INSTRUCTION = re.compile(rb"0x([0-9a-f]+): +([0-9a-f]{8})?(?:\s|$)")
_BYTES = re.compile(rb"OBJD-T: ((?:[0-9a-f]{8})+)")
# "Trace 0: 0x7fe9ac000100 [0000000000001001/000000550283cc40/00000001/00000200] name": the second is the address
_EXECUTED = re.compile(rb"\[[0-9a-f]+/([0-9a-f]+)/")


def product(word: int) -> str | None:
    """The name of the product that an instruction word is, a key of `PRODUCTS`; None of any other instruction."""
    return next((name for name, forms in PRODUCTS.items() if any(form.matches(word) for form in forms)), None)


def products(trace: Path) -> tuple[str, ...]:
    """The products that were first computed during an inference, by name, in the order of `PRODUCTS`.

    Args:
        trace: what qemu wrote with `-d in_asm`, of a run of the runner.

    Raises:
        RequestError: it holds no inference.
    """
    seen, begun = set(), False
    with trace.open("rb") as log:
        for _, words in _blocks(log):
            begun = begun or BEGIN in words
            seen |= set(words) if begun else set()
    if not begun:
        raise RequestError(f"{trace} shows no inference: it is no log of this qemu's, or the run ended before one")
    names = {product(word) for word in seen}
    return tuple(name for name in PRODUCTS if name in names)


def _blocks(lines: Iterable[bytes]) -> Iterator[tuple[int, list[int]]]:
    """The address and the instruction words of each block that was translated."""
    start, words = None, []
    for line in lines:
        if match := _INSTRUCTION.match(line):
            start = int(match[1], 16) if start is None else start
            if match[2]:
                words.append(int(match[2], 16))
        elif match := _BYTES.match(line):
            words += _words(match[1])
        elif start is not None:
            yield start, words
            start, words = None, []
    if start is not None:
        yield start, words


def _words(text: bytes) -> list[int]:
    octets = bytes.fromhex(text.decode())
    return [int.from_bytes(octets[i : i + 4], "little") for i in range(0, len(octets), 4)]


class Tally:
    """Counts the instructions of each inference in a log of `-d in_asm,exec,nochain`, given piece by piece.

    Args:
        inferences: instructions of each that has ended.
    """

    def __init__(self) -> None:
        self.inferences: list[int] = []
        self._executed: Counter[bytes] | None = None  # times by address of a block, within an inference
        self._lengths: dict[int, int] = {}
        self._begins: set[bytes] = set()
        self._ends: set[bytes] = set()
        self._open: list[bytes] = []  # lines of a block that may go on
        self._rest = b""

    def add(self, piece: bytes) -> None:
        """The next bytes of the log."""
        whole, newline, rest = (self._rest + piece).rpartition(b"\n")
        self._rest = rest
        text = whole + newline
        if self._open or b"IN:" in text or any(mark in text for mark in self._begins | self._ends):
            for line in text.splitlines(keepends=True):
                self._line(line)
        elif self._executed is not None:
            self._executed.update(_EXECUTED.findall(text))

    def _line(self, line: bytes) -> None:
        if not line.startswith(b"Trace "):
            self._open.append(line)
            return
        for start, words in _blocks(self._open):
            self._lengths[start] = len(words)
            name = b"%016x" % start
            self._begins |= {name} if BEGIN in words else set()
            self._ends |= {name} if END in words else set()
        self._open = []
        found = _EXECUTED.search(line)
        if found is None:
            return
        name = found[1]
        if name in self._ends and self._executed is not None:
            self.inferences.append(sum(times * self._lengths[int(at, 16)] for at, times in self._executed.items()))
            self._executed = None
        if self._executed is not None:
            self._executed[name] += 1
        if name in self._begins:
            self._executed = Counter()


def count(command: Sequence[str]) -> list[int]:
    """Instructions of each inference of the runner's `command`, in which qemu logs to its standard output.

    Blocks of a few instructions are counted whole, libraries' too; what comes before the inference is not. Nothing in
    it waits or depends on time with one thread, so two runs count the same.

    Raises:
        RequestError: the runner ended badly; its last line says how.
    """
    tally = Tally()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
        try:
            assert process.stdout is not None
            while piece := process.stdout.read(1 << 20):
                tally.add(piece)
            status = process.wait()
        finally:
            process.kill()  # which does nothing to one that has ended
            process.wait()
        if status:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines() or [f"status {status}"]
            raise RequestError(f"no instructions can be counted, the runner ended badly: {lines[-1]}")
    return tally.inferences
