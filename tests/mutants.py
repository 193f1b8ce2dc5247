"""Small faults put into the code on purpose, one at a time: the tests must notice.

    python -m tests.mutants [--jobs 2] [--only files.py] [--output docs/results/mutants]

Each is a slip that a person might make: a sign, a comparison, an order, a check that is gone. The list is fixed, and
`tests/test_mutants.py` sees that each is still found once. Each runs in a copy of the package, with the tests named.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS = 300


@dataclass(frozen=True)
class Mutant:
    """A fault: in `file`, `before` becomes `after`; `tests` are those that should notice.

    `same` says why no test can, where the program does the same.
    """

    file: str
    before: str
    after: str
    tests: str
    same: str = ""


_OUT, _ART, _ANS = "tests/test_outputs.py", "tests/test_artifact.py", "tests/test_answers.py"
_STAT, _MET, _REP = "tests/test_statistics.py", "tests/test_metrics.py", "tests/test_report.py"
_DEC, _QUA, _HOS = "tests/test_decompose.py", "tests/test_quantize.py", "tests/test_hostile_inputs.py"
_EVA, _CHE, _EVR = "tests/test_evaluate.py", "tests/test_checkpoint.py", "tests/test_evaluator.py"
MUTANTS = (
    Mutant("volo_edge/files.py", "inside = sorted(", "inside = list(", _ART),
    Mutant("volo_edge/files.py", 'f"{sha256(path / name)} {name}\\n"', 'f"{sha256(path / name)}\\n"', _ART),
    Mutant("volo_edge/files.py", "os.path.isabs(name) or", "", _OUT, same="what is absolute and inside is the artifact's"),
    Mutant("volo_edge/files.py", 'or ".." in Path(name).parts', "", _OUT),
    Mutant("volo_edge/files.py", "or not place.is_relative_to(home)", "", _OUT),
    Mutant("volo_edge/files.py", "or place == home", "", _OUT),
    Mutant("volo_edge/outputs.py", "    if not force:\n", "    if False:\n", _OUT),
    Mutant("volo_edge/outputs.py", "        check(place.path, kind, force, sources)  # again", "        pass  # again", _OUT),
    Mutant("volo_edge/outputs.py", "            if strangers := _strangers(place.old", "            if strangers := 0 and _strangers(place.old", _OUT),
    Mutant("volo_edge/outputs.py", "            place.old.rename(place.path)\n            raise", "            raise", "tests/test_interrupts.py", same="what is cleaned up at the end gives the name back"),
    Mutant("volo_edge/outputs.py", "ours.isdisjoint((inner, *inner.parents))", "ours.isdisjoint((inner,))", _OUT),
    Mutant("volo_edge/outputs.py", " - {Path()}  # which", "  # which", _OUT),
    Mutant("volo_edge/outputs.py", "if inner.name not in _OF_SYSTEMS", "if True", _OUT),
    Mutant("volo_edge/outputs.py", "values.keys() >= set(kind.keys)", "True", _OUT),
    Mutant("volo_edge/outputs.py", "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB", _OUT),
    Mutant("volo_edge/outputs.py", "return os.path.samestat(os.fstat(lock), os.stat(place.lock))", "return True", _OUT),
    Mutant("volo_edge/outputs.py", "if mine is not None and thread == threading.get_ident():", "if mine is not None:", _OUT),
    Mutant("volo_edge/outputs.py", "            if place.home.is_symlink():", "            if False:", _OUT),
    Mutant("volo_edge/outputs.py", "            place.old.rename(place.path)\n    for", "            pass\n    for", _OUT),
    Mutant("volo_edge/outputs.py", "if inner not in (place.lock, place.state):", "if inner != place.lock:", _OUT),
    Mutant("volo_edge/outputs.py", "> _NAME_BYTES", "> 9 * _NAME_BYTES", _OUT),
    Mutant("volo_edge/outputs.py", ".is_relative_to(place.path):", "== place.path:", _OUT),
    Mutant("volo_edge/validate/answers.py", "zlib.crc32(row.tobytes()[:-4], number)", "zlib.crc32(row.tobytes()[:-4])", _ANS),
    Mutant("volo_edge/validate/answers.py", "left = left[file.write(left) :]", "file.write(left); left = left[:0]", _ANS),
    Mutant("volo_edge/validate/answers.py", "rows = rows[: _whole(rows)]", "rows = rows[:]", _ANS),
    Mutant("volo_edge/validate/answers.py", "file.truncate(keep * kind.itemsize)", "pass", _ANS),
    Mutant("volo_edge/validate/answers.py", "int(read[batches * together - 1]) + 1", "int(read[batches * together - 1])", _ANS),
    Mutant("volo_edge/validate/answers.py", 'rows["read"] == 1', 'rows["read"] >= 0', _ANS),
    Mutant("volo_edge/validate/metrics.py", "return error if math.isfinite(error) else math.inf\n\n\ndef max", "return error\n\n\ndef max", _MET),
    Mutant("volo_edge/validate/metrics.py", "-20 * math.log10(error)", "-10 * math.log10(error)", _MET),
    Mutant("volo_edge/validate/metrics.py", "(same & np.isfinite(logits).all(1)).mean())\n\n\ndef labels", "same.mean())\n\n\ndef labels", _MET),
    Mutant("volo_edge/validate/metrics.py", "(logits >= 0) == (reference >= 0)", "(logits > 0) == (reference > 0)", _MET),
    Mutant("volo_edge/validate/metrics.py", "logits.max(-1, keepdims=True)", "0", _MET),
    Mutant("volo_edge/validate/parity.py", "passed=error <= tolerance", "passed=error < tolerance", _MET),
    Mutant("volo_edge/validate/parity.py", "None, None, None, None, tolerance, None, why)", "None, None, None, None, tolerance, True, why)", _MET),
    Mutant("volo_edge/validate/reference.py", "if not np.isfinite(logits).all():", "if not np.isfinite(logits).any():", _MET),
    Mutant("volo_edge/evaluate/statistics.py", "kinds = [1.0, -1.0,", "kinds = [-1.0, 1.0,", _STAT, same="both have one added"),
    Mutant("volo_edge/evaluate/statistics.py", "total = len(lost) + 2", "total = len(lost) + 1", _STAT),
    Mutant("volo_edge/evaluate/statistics.py", "[2.5, 97.5]", "[5, 95]", _STAT),
    Mutant("volo_edge/evaluate/statistics.py", "2 * total / 2**flips", "total / 2**flips", _STAT),
    Mutant("volo_edge/evaluate/facts.py", "worse, better = int((lost > 0).sum()), int((lost < 0).sum())", "better, worse = int((lost > 0).sum()), int((lost < 0).sum())", _STAT),
    Mutant("volo_edge/evaluate/facts.py", "drop=100 * float((theirs[index] - ours[index])", "drop=100 * float((ours[index] - theirs[index])", _STAT),
    Mutant("volo_edge/evaluate/facts.py", "top5[good] = above < TOP", "top5[good] = above <= TOP", _STAT),
    Mutant("volo_edge/evaluate/facts.py", "if finite.all() else math.inf", "if True else math.inf", _STAT),
    Mutant("volo_edge/evaluate/verdict.py", "return judged.high <= max_drop and", "return judged.drop <= max_drop and", _EVA),
    Mutant("volo_edge/evaluate/verdict.py", "'gains' if judged.drop < 0", "'gains' if judged.drop > 0", _EVA),
    Mutant("volo_edge/evaluate/verdict.py", "if there.photographs == photographs else there.judged.low", "if True else there.judged.low", _REP),
    Mutant("volo_edge/evaluate/data.py", "if len(unknown) < len(folders) or", "if", _EVA),
    Mutant("volo_edge/evaluate/data.py", "    if gate:\n        raise RequestError(\n            \"no class", "    if False:\n        raise RequestError(\n            \"no class", _EVA),
    Mutant("volo_edge/evaluate/growth.py", "worst = max(own, key", "worst = min(own, key", _EVA),
    Mutant("volo_edge/evaluate/growth.py", "        if (after := _rounding(found.made)) is not None:", "        if (after := None) is not None:", _EVA),
    Mutant("volo_edge/report/html.py", "if one.judged is not None and one.judged.low > 0]", "if one.judged is not None and one.judged.high > 0]", _REP),
    Mutant("volo_edge/report/html.py", "worst = max(real, key", "worst = min(real, key", _REP),
    Mutant("volo_edge/report/html.py", "key=lambda row: -max(row[3])", "key=lambda row: max(row[3])", _REP),
    Mutant("volo_edge/report/html.py", "-sum(change.effect == \"worse\" for _, _, change in photograph.answers)", "sum(change.effect == \"worse\" for _, _, change in photograph.answers)", _REP),
    Mutant("volo_edge/report/html.py", "-(photograph.change.float_model.probability or 0)", "(photograph.change.float_model.probability or 0)", _REP),
    Mutant("volo_edge/artifact.py", "files.size(file) != info.bytes or files.sha256(file) != info.sha256", "False", _ART),
    Mutant("volo_edge/artifact.py", "if len(labels) != num_classes:", "if len(labels) < num_classes:", _ART),
    Mutant("volo_edge/artifact.py", 'answer.astype("<f4")', 'answer.astype(">f4")', _ART),
    Mutant("volo_edge/reference/file.py", "dtype.hasobject or", "", _HOS, same="objects have a kind of their own, which is refused"),
    Mutant("volo_edge/reference/file.py", "while stream.read(1 << 20):", "while False:", "tests/test_reference.py tests/test_hostile_inputs.py"),
    Mutant("volo_edge/reference/file.py", "if info.compress_type != zipfile.ZIP_STORED:", "if False:", _HOS),
    Mutant("volo_edge/reference/file.py", 'or ".." in PurePath(name).parts', "", _HOS),
    Mutant("volo_edge/inputs.py", "if len(data) > limit:", "if False:", _HOS),
    Mutant("volo_edge/inputs.py", "if not stat.S_ISREG(found.st_mode):", "if stat.S_ISDIR(found.st_mode):", _HOS),
    Mutant("volo_edge/inputs.py", "parse_constant=_no_number", "parse_constant=None", _HOS),
    Mutant("volo_edge/checkpoint/scan.py", "if self.levels > _DEEPEST:", "if False:", _HOS),
    Mutant("volo_edge/checkpoint/scan.py", "            self._spend(_hashing(key))", "            pass", _HOS),
    Mutant("volo_edge/checkpoint/scan.py", "        if claimed > has:", "        if False:", "tests/test_checkpoint.py tests/test_hostile_inputs.py"),
    Mutant("volo_edge/decompose/rewrites.py", "deviation = 255 * torch.tensor(std", "deviation = torch.tensor(std", _DEC),
    Mutant("volo_edge/decompose/rewrites.py", "bias_of(linear) + weight @ shift", "bias_of(linear)", _DEC),
    Mutant("volo_edge/decompose/rewrites.py", "factor[:rows] = attn.scale", "factor[:] = attn.scale", _DEC),
    Mutant("volo_edge/decompose/rewrites.py", "bias_of(model.aux_head) * model.aux_scale", "bias_of(model.aux_head)", _DEC),
    Mutant("volo_edge/decompose/rewrites.py", "bias - bias.mean()", "bias", _DEC),
    Mutant("volo_edge/quantize/palette.py", "bounds = (centres[1:] + centres[:-1]) / 2\n    if", "bounds = centres[1:]\n    if", _QUA),
    Mutant("volo_edge/quantize/palette.py", "out_int32=True).reshape", "out_int32=True, right=True).reshape", _QUA, same="differs on the border between two centres only"),
    Mutant("volo_edge/quantize/static.py", "unsigned = self._symmetric and node.target in _RELU", "unsigned = node.target in _RELU", _QUA),
    Mutant("volo_edge/quantize/static.py", "            quant_max=255 if unsigned else 127,", "            quant_max=127,", _QUA),
    Mutant("converters/targets.py", 'return "-".join(parts).replace("-xnnpack", "")', 'return "-".join(parts)', "tests/test_schemes.py tests/test_artifact.py"),
    Mutant("converters/coreml/evaluator/package.py", "if not model.resolve().is_relative_to(path.resolve()):", "if False:", _HOS),
    Mutant("converters/coreml/evaluator/package.py", "if name not in known]:", "if False]:", "tests/test_evaluator.py"),
)  # fmt: skip


def applied(mutant: Mutant, folder: Path) -> None:
    """Put the fault into the copy in `folder`."""
    path = folder / mutant.file
    text = path.read_text()
    if text.count(mutant.before) != 1:
        raise ValueError(f"{mutant.file} has {text.count(mutant.before)} times: {mutant.before!r}")
    path.write_text(text.replace(mutant.before, mutant.after))


def noticed(mutant: Mutant) -> bool:
    """Whether the tests fail with the fault."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("volo_edge", "converters", "calibration", "apps", "docs", "tests", "pyproject.toml", "README.md"):
            if (ROOT / part).is_dir():
                skipped = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=skipped)
            else:
                shutil.copy(ROOT / part, folder / part)
        applied(mutant, folder)
        environment = os.environ | {"PYTHONPATH": name, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        options = ("-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "--durations=0", f"--timeout={SECONDS}")
        command = [sys.executable, "-m", "pytest", *options, *mutant.tests.split()]
        try:
            ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=2 * SECONDS)
        except subprocess.TimeoutExpired:
            return True
        return ended.returncode == 1


def sound(tests: set[str]) -> list[str]:
    """Those of the `tests` that fail without a fault, of which nothing can be said."""
    nothing = Mutant("README.md", "# volo-edge\n", "# volo-edge\n", "")
    return [path for path in sorted(tests) if noticed(replace(nothing, tests=path))]


def main() -> int:
    """Run them; 1 where one survived that is a fault, 2 where tests fail without one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="part of a file's name")
    parser.add_argument("--output", type=Path, default=Path("docs/results/mutants"))
    args = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if args.only in mutant.file]
    if failing := sound({path for mutant in chosen for path in mutant.tests.split()}):
        print(f"these fail without a fault: {', '.join(failing)}")
        return 2
    found: dict[str, dict[str, list[str]]] = {}
    with ThreadPoolExecutor(args.jobs) as pool:
        for mutant, seen in zip(chosen, pool.map(noticed, chosen), strict=True):
            kind = "noticed" if seen else "the same" if mutant.same else "survived"
            found.setdefault(mutant.file, {}).setdefault(kind, []).append(mutant.before)
            print(f"{kind:9} {mutant.file}: {mutant.before.strip().splitlines()[0][:90]}", flush=True)
    args.output.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    rows = ["| file | faults | noticed | the same program | survived |", "|---|---:|---:|---:|---:|"]
    for file, kinds in sorted(found.items()):
        counts = [len(kinds.get(kind, ())) for kind in ("noticed", "the same", "survived")]
        rows.append(f"| `{file}` | {sum(counts)} | {' | '.join(map(str, counts))} |")
    args.output.with_suffix(".md").write_text("\n".join(rows) + "\n")
    return 1 if any("survived" in kinds for kinds in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
