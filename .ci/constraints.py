"""Prints constraints.txt: the versions of all that `.[dev]` needs as they are installed in the Python that runs this.

    make constraints

Python 3.10 gets older releases of some; they are what pip resolves there, from the report that PYTHON3_10 writes:

    python3.10 -m pip install --dry-run --ignore-installed --report 3.10.json --only-binary=:all: \
        --no-binary=antlr4-python3-runtime '.[dev]'

Without such a report as the argument the lines of 3.10 stay as they are in constraints.txt.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FILE = Path(__file__).parents[1] / "constraints.txt"
OLD = 'python_version < "3.11"'
HEAD = """\
# Versions that volo-edge is tested with; CI installs them. `make constraints` writes this file anew.
# Those of Python 3.11 on Linux hold from there on. torch's own CUDA packages are not among them: it pins them itself.
"""
# torch's, where it is not built for the processor alone
CUDA = re.compile(r"nvidia-.*|cuda-.*|triton")


def installed() -> dict[str, str]:
    """Versions, without what is local to a build (torch's "+cpu"), of all that `volo-edge[dev]` needs here."""
    present = {canonicalize_name(one.name) for one in distributions()}
    found: dict[str, str] = {}
    waiting = [("volo-edge", "dev")]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        one = distribution(name)
        if name != "volo-edge" and not CUDA.fullmatch(name):
            found[name] = one.version.partition("+")[0]
        for text in one.requires or ():
            needed = Requirement(text)
            needs = canonicalize_name(needed.name)
            if needed.marker and not needed.marker.evaluate({"extra": extra}):
                continue
            if needs in present:  # pip has seen to it that what is needed is there
                waiting += [(needs, part) for part in ("", *needed.extras)]
    return found


def resolved(report: Path) -> dict[str, str]:
    """Versions in a report of pip's."""
    items = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    named = {canonicalize_name(item["name"]): item["version"].partition("+")[0] for item in items}
    return {name: version for name, version in named.items() if name != "volo-edge" and not CUDA.fullmatch(name)}


def written() -> dict[str, str]:
    """The versions of Python 3.10 in constraints.txt."""
    found = {}
    for line in FILE.read_text().splitlines():
        if line and not line.startswith("#"):
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"python_version": "3.10"}):
                found[canonicalize_name(needed.name)] = str(needed.specifier).removeprefix("==")
    return found


def main() -> None:
    """Print the file."""
    if sys.version_info < (3, 11):
        sys.exit("the versions of Python 3.11 and later are wanted: make constraints PYTHON=python3.11")
    new = installed()
    old = resolved(Path(sys.argv[1])) if len(sys.argv) > 1 else written()
    print(HEAD, end="")
    for name in sorted(new.keys() | old.keys()):
        if new.get(name) == old.get(name):
            print(f"{name}=={new[name]}")
            continue
        if name in old:
            print(f"{name}=={old[name]} ; {OLD}")
        if name in new:
            print(f"{name}=={new[name]} ; {OLD.replace('<', '>=')}")


if __name__ == "__main__":
    main()
