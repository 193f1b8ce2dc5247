"""Harmful files, thousands a minute, given to what reads them; and failing disks under every verb that writes.

    python -m tests.hostile.campaign [--cases 50000] [--faults 200] [--output docs/results/hostile] [--peers 300]
    python -m tests.hostile.campaign --kind "float reference" --seed 17     one case again, with its traceback

A case ends well where the reader gives the right value, or an error that the command says in a line (`errors.ending`),
in `SECONDS`, with a peak of memory below `MEGABYTES`. Readers run in processes that the parent watches: one that dies
or hangs is a case too. Peers read the same files; what they do is counted and not judged.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

SECONDS, MEGABYTES = 30, 2000
GOOD = ("read", "refused")  # how a case may end


def outcome(kind: Any, read: Callable[[Any], Any], given: Any, judged: bool) -> str:
    """How reading ends: "read", "refused", or what was wrong."""
    from tests.hostile.kinds import ANYTHING
    from volo_edge.errors import ending
    from volo_edge.preprocess import UnreadableImage

    try:
        value = read(given)
    except UnreadableImage as error:
        return "refused" if str(error).strip() else "wrong: an error without a word"
    except Exception as error:
        if not judged:
            return f"raised {type(error).__name__}"
        end = ending(error)  # what the command says
        if end.kind == "request":
            return "refused" if end.message.strip() else "wrong: an error without a word"
        return f"wrong: {type(error).__name__}: {str(error)[:120]}"
    if judged and kind.right is not ANYTHING and not kind.same(value, kind.right):
        return "wrong: another value, and no error"
    return "read"


def work(number: int, peer: int, first: int, count: int) -> None:
    """In a process of its own: cases `first` and following of a kind, a JSON line before and after each."""
    from tests.hostile.kinds import KINDS

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    say = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print
    with tempfile.TemporaryDirectory() as name:
        kind = KINDS[number](Path(name))
        read = kind.read if peer < 0 else kind.peers[peer][1]
        for seed in range(first, first + count):
            given = kind.make(Random(seed))
            say.write(json.dumps({"seed": seed}) + "\n")
            start = time.monotonic()
            ended = outcome(kind, read, given, judged=peer < 0)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            if peak > MEGABYTES:
                ended = f"wrong: {peak} MB"
            say.write(json.dumps({"seed": seed, "ended": ended, "seconds": time.monotonic() - start}) + "\n")
            if peak > MEGABYTES:
                return  # the peak stays: another process goes on


def _lines(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any] | None]:
    """What a worker says; None where it says nothing for `SECONDS`, once it has begun a case."""
    assert process.stdout is not None
    pending, begun = b"", False
    while True:
        ready, _, _ = select.select([process.stdout], [], [], SECONDS if begun else 300)
        if not ready:
            yield None
            return
        block = os.read(process.stdout.fileno(), 65536)
        if not block:
            return
        *whole, pending = (pending + block).split(b"\n")
        for line in whole:
            begun = True
            yield json.loads(line)


def tried(number: int, peer: int, first: int, count: int) -> Iterator[tuple[int, str]]:
    """Seeds of a kind and how each ended; workers that die are replaced."""
    seed, until = first, first + count
    while seed < until:
        arguments = map(str, (number, peer, seed, until - seed))
        command = [sys.executable, "-m", "tests.hostile.campaign", "--work", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            begun = hung = False
            for said in _lines(process):
                if said is None:
                    hung = True
                    process.kill()
                    yield seed, f"wrong: no answer in {SECONDS} s"
                    seed, begun = seed + 1, False
                elif "ended" in said:
                    yield said["seed"], said["ended"]
                    seed, begun = said["seed"] + 1, False
                else:
                    seed, begun = said["seed"], True
            status = process.wait()
        if begun:
            yield seed, f"wrong: its process died ({status})"
            seed += 1
        elif status and not hung:
            raise RuntimeError(f"{' '.join(command)}: making seed {seed} failed")


def again(name: str, seed: int) -> None:
    """One case, with its traceback."""
    from tests.hostile.kinds import KINDS

    with tempfile.TemporaryDirectory() as folder:
        kind = next(kind for make in KINDS if (kind := make(_fresh(Path(folder), make.__name__))).name == name)
        given = kind.make(Random(seed))
        print(given)
        try:
            print("read:", kind.read(given))
        except Exception:
            traceback.print_exc()


def _fresh(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    return path


def artifacts(folder: Path) -> None:
    """The demo as a .pte, a Core ML package and, where there is Core AI, its asset, which some kinds change."""
    from tests.command import COMMAND
    from tests.hostile.kinds import KINDS, assets

    for target in ("executorch", "coreml", *(("coreai",) if assets in KINDS else ())):
        command = (COMMAND, "convert", "--target", target, "--output", folder / target)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def campaign(cases: int, peers: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Counts of outcomes by kind, and by peer; and the cases that went wrong."""
    from tests.hostile.kinds import KINDS

    with tempfile.TemporaryDirectory() as place:
        names = [(kind.name, [peer for peer, _ in kind.peers]) for kind in _kinds(Path(place))]
    found: dict[str, Any] = {"kinds": {}, "wrong": []}
    each = -(-cases // len(KINDS))
    for number, (name, theirs) in enumerate(names):
        start = time.monotonic()
        counts: Counter[str] = Counter()
        for seed, ended in tried(number, -1, 0, each):
            counts[ended if ended in GOOD else "wrong"] += 1
            if ended not in GOOD:
                found["wrong"].append({"kind": name, "seed": seed, "ended": ended})
                say(f"{name}, seed {seed}: {ended}")
        beside = {}
        for place_, peer in enumerate(theirs):
            ends = Counter(_theirs(ended) for _, ended in tried(number, place_, 0, min(peers, each)))
            beside[peer] = dict(ends)
        found["kinds"][name] = dict(counts) | {"peers": beside}
        say(f"{name}: {dict(counts)} in {time.monotonic() - start:.0f} s; {beside}")
    return found


def _kinds(place: Path) -> Iterator[Any]:
    from tests.hostile.kinds import KINDS

    for make in KINDS:
        yield make(_fresh(place, make.__name__))


def _theirs(ended: str) -> str:
    """A peer's outcome in few words."""
    if "died" in ended:
        return "its process died"
    if "no answer" in ended:
        return f"no answer in {SECONDS} s"
    return f"more than {MEGABYTES} MB" if ended.endswith("MB") else ended


def table(found: dict[str, Any]) -> str:
    """The counts in Markdown."""
    rows = ["| kind | cases | read | refused | wrong | peers on the first of them |", "|---|---:|---:|---:|---:|---|"]
    total: Counter[str] = Counter()
    for name, counts in found["kinds"].items():
        own = {ended: counts.get(ended, 0) for ended in (*GOOD, "wrong")}
        total.update(own)
        beside = "; ".join(
            f"{peer}: {', '.join(f'{count} {ended}' for ended, count in sorted(ends.items()))}"
            for peer, ends in counts["peers"].items()
        )
        rows.append(f"| {name} | {sum(own.values())} | {own['read']} | {own['refused']} | {own['wrong']} | {beside} |")
    rows.append(f"| **all** | {total.total()} | {total['read']} | {total['refused']} | {total['wrong']} | |")
    if faults := found.get("faults"):
        rows += ["", "| verb | calls that write | faults | wrong |", "|---|---:|---:|---:|"]
        rows += [
            f"| {name} | {one['calls']} | {one['faults']} | {one['wrong']} |" for name, one in faults["verbs"].items()
        ]
    return "\n".join(rows) + "\n"


def main() -> int:
    """Run it; 1 where a case went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cases", type=int, default=50_000)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--peers", type=int, default=300, help="cases of a kind that each peer gets")
    parser.add_argument("--output", type=Path, default=Path("docs/results/hostile"))
    parser.add_argument("--kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=int, nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(*args.work)
        return 0
    with tempfile.TemporaryDirectory() as name:
        os.environ.setdefault("HOSTILE_ARTIFACTS", name)
        if os.environ["HOSTILE_ARTIFACTS"] == name:
            artifacts(Path(name))
        if args.kind:
            again(args.kind, args.seed)
            return 0
        found = campaign(args.cases, args.peers, lambda text: print(text, flush=True))
        if args.faults:
            from tests.hostile import faults

            found["faults"] = faults.campaign(
                Path(os.environ["HOSTILE_ARTIFACTS"]) / "executorch",
                faults.VERBS,
                args.faults,
                0,
                lambda text: print(text, flush=True),
            )
    args.output.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    args.output.with_suffix(".md").write_text(table(found))
    return 1 if found["wrong"] or found.get("faults", {}).get("wrong") else 0


if __name__ == "__main__":
    sys.exit(main())
