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
SECONDS = 90  # of a test: the slowest that is run takes 15


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
_WIN, _TRA, _SCH = "tests/test_windows.py", "tests/test_transforms.py", "tests/test_schemes.py"
_LAY, _PRE, _SEN = "tests/test_layouts.py", "tests/test_preprocess.py", "tests/test_sensitivity.py"
_IMA, _DOU, _MUL = "tests/test_images.py", "tests/test_doubts.py", "tests/test_multilabel.py"
_APP, _DIF, _REF = "tests/test_app.py", "tests/test_difference.py", "tests/test_reference.py"
_LAB, _TRN, _PLA = "tests/test_labels.py", "tests/test_trained.py", "tests/test_plain.py"
_PTE, _COR = "tests/test_executorch_program.py", "tests/test_coreml_program.py"
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
    Mutant("converters/targets.py", "if sys.version_info < self.needs.python or not fits:", "if not fits:", "tests/test_coreai.py"),
    Mutant("converters/targets.py", "not self.needs.machines or here in self.needs.machines", "True", "tests/test_coreai.py"),
    Mutant("converters/rules.py", "if factor >= 2 else", "if factor > 2 else", "tests/test_coreai.py"),
    Mutant("converters/rules.py", "and (scale[1] or 0) > 1", "and (scale[1] or 0) > 99", "tests/test_coreai.py"),
    Mutant("volo_edge/evaluate/growth.py", "if name not in constant]", "if name in constant]", _EVA),
    Mutant("converters/coreml/evaluator/package.py", "if not model.resolve().is_relative_to(path.resolve()):", "if False:", _HOS),
    Mutant("converters/coreml/evaluator/package.py", "if name not in known]:", "if False]:", "tests/test_evaluator.py"),
    Mutant("volo_edge/decompose/windows.py", ".clamp(max=window.stride)", ".clamp(max=window.kernel)", f"{_WIN} {_DEC}"),
    Mutant("volo_edge/decompose/windows.py", "divmod(i - window.padding, stride)", "divmod(i, stride)", _WIN),
    Mutant("volo_edge/decompose/windows.py", "len(parts) == stride**2", "len(parts) >= stride", _WIN),
    Mutant("volo_edge/decompose/windows.py", "window.width - ((window.columns - 1)", "window.height - ((window.columns - 1)", _WIN),
    Mutant("volo_edge/decompose/windows.py", "stop = max(start, min(length, size - before))", "stop = length", _WIN),
    Mutant("volo_edge/decompose/edge.py", "torch.cat((read, x), self.layout.token_axis)", "x", f"{_DEC} tests/test_model.py"),
    Mutant("volo_edge/decompose/edge.py", "layout, centred=False) for block in outlookers", "layout, centred=True) for block in outlookers", _DEC),
    Mutant("volo_edge/decompose/edge.py", "if len(images) > 1:", "if True:", _DEC),
    Mutant("volo_edge/decompose/edge.py", "int(counter.get_total_flops()) // 2", "int(counter.get_total_flops())", _DEC),
    Mutant("volo_edge/decompose/rewrites.py", "bias_of(linear) * factor[:, 0]", "bias_of(linear)", _DEC),
    Mutant("volo_edge/decompose/rewrites.py", "if bias is not None and (layer.bias is not None or bias.any()):", "if bias is not None:", _DEC),
    Mutant("volo_edge/decompose/rewrites.py", "weight.mean(0, keepdim=True)", "weight.mean(1, keepdim=True)", _DEC),
    Mutant("volo_edge/quantize/weights.py", "weights.group if weights.group and original.shape[1] % weights.group == 0 else None", "weights.group", _QUA),
    Mutant("volo_edge/quantize/weights.py", "2 ** (weights.bits - 1) - 1\n        integers", "2 ** (weights.bits - 1)\n        integers", _QUA),
    Mutant("volo_edge/quantize/weights.py", ".clamp(min=torch.finfo(torch.float32).tiny)", "", _QUA),
    Mutant("volo_edge/quantize/weights.py", "products = inputs[name].products if weights.compensated else None", "products = None", _QUA),
    Mutant("volo_edge/quantize/weights.py", "    stored.scale = stored.scale.float()", "    pass", _QUA),
    Mutant("volo_edge/quantize/palette.py", "        if len(idle):", "        if False:", _QUA),
    Mutant("volo_edge/quantize/static.py", "last = user if user.target in _RELU and not others else node", "last = node", _QUA),
    Mutant("volo_edge/quantize/static.py", 'self._rounds_outputs = backend == "xnnpack"', "self._rounds_outputs = True", _QUA),
    Mutant("volo_edge/quantize/compensate.py", "moments.diagonal().mean()", "moments.diagonal().sum()", _QUA),
    Mutant("volo_edge/quantize/compensate.py", "left[:, stop:] -= errors @ upper[start:stop, stop:]", "pass", _QUA),
    Mutant("volo_edge/quantize/compensate.py", "if damping == 0:", "if False:", _QUA),
    Mutant("volo_edge/quantize/statistics.py", "if last is not None and last[0] is given:", "if False:", _QUA),
    Mutant("volo_edge/quantize/statistics.py", "sums.count += len(vectors)", "sums.count += len(given)", _QUA),
    Mutant("volo_edge/quantize/transforms.py", "key.scale(1 / factor)", "key.scale(factor)", _TRA),
    Mutant("volo_edge/quantize/transforms.py", "    signs[0] = 1\n", "", _TRA),
    Mutant("volo_edge/quantize/transforms.py", "for parameter in (model.pos_embed, model.cls_token):", "for parameter in (model.pos_embed,):", _TRA),
    Mutant("volo_edge/quantize/transforms.py", "torch.isfinite(factor) & (factor > 0)", "torch.isfinite(factor)", _TRA),
    Mutant("volo_edge/quantize/layers.py", " | dict.fromkeys(stem[:1], FLOAT)", "", _QUA),
    Mutant("volo_edge/quantize/layers.py", " and name not in keep_float", "", _QUA),
    Mutant("volo_edge/quantize/schemes.py", "return any(which.activations", "return all(which.activations", f"{_SCH} {_QUA}"),
    Mutant("volo_edge/quantize/schemes.py", 'f" in groups of {self.group}" if self.group else ""', '""', f"{_SCH} {_QUA}"),
    Mutant("volo_edge/validate/metrics.py", "np.abs(logits.astype(np.float64) - reference).max()", "(logits.astype(np.float64) - reference).max()", _MET),
    Mutant("volo_edge/validate/answers.py", "    if (good := _whole(rows)) < count:", "    if (good := len(rows)) < count:", _ANS),
    Mutant("volo_edge/evaluate/statistics.py", "math.sqrt(float((lost**2).sum()) + 2)", "math.sqrt(float((lost**2).sum()))", _STAT),
    Mutant("volo_edge/evaluate/multilabel.py", "np.where(either == 0, 1.0,", "np.where(either == 0, 0.0,", _MUL),
    Mutant("volo_edge/evaluate/multilabel.py", "np.where(np.isfinite(scores), scores, -np.inf)", "scores", _MUL),
    Mutant("volo_edge/evaluate/multilabel.py", 'alternative="greater"', 'alternative="two-sided"', _MUL),
    Mutant("volo_edge/evaluate/multilabel.py", "    odd[found.not_finite | float_facts.not_finite] = False", "    pass", _MUL),
    Mutant("volo_edge/evaluate/multilabel.py", "-abs(c.float_model - c.file)", "abs(c.float_model - c.file)", _MUL),
    Mutant("volo_edge/evaluate/plausible.py", "renamed > 2 * right", "renamed > right", _EVA),
    Mutant("volo_edge/evaluate/plausible.py", "best = np.full(len(kinds), -2)", "best = np.full(len(kinds), -1)", _EVA),
    Mutant("volo_edge/evaluate/data.py", "if int(name) >= len(labels)]:", "if int(name) > len(labels)]:", _EVA),
    Mutant("volo_edge/evaluate/data.py", "if files.sha256(images.path(index)) in hashes[size]:", "if True:", _EVA),
    Mutant("volo_edge/evaluate/verdict.py", "if judged.low > 0 or judged.high < 0:", "if judged.low > 0:", _EVA),
    Mutant("volo_edge/evaluate/growth.py", "return ratio if np.isfinite(ratio) else np.inf", "return ratio", _EVA),
    Mutant("volo_edge/evaluate/growth.py", "return apart if nearer else bias", "return apart", _EVA),
    Mutant("volo_edge/evaluate/growth.py", "x, levels.scale, levels.zero_point,", "x, levels.scale, 0,", _EVA),
    Mutant("volo_edge/evaluate/growth.py", "- _ORDER * apart**2", "", _EVA),
    Mutant("volo_edge/evaluate/outcome.py", " & (one.not_finite == other.not_finite)", "", f"{_EVA} {_MUL}"),
    Mutant("volo_edge/evaluate/outcome.py", 'effect = "better" if found.top1[index] else "worse"', 'effect = "worse" if found.top1[index] else "better"', f"{_EVA} {_STAT}"),
    Mutant("volo_edge/evaluate/prepare.py", "    if record.identity != made:", "    if False:", f"{_EVA} {_REF}"),
    Mutant("volo_edge/evaluate/request.py", "    outputs.check(wanted.output, KIND, wanted.force, wanted.inputs)", "    pass", _OUT),
    Mutant("volo_edge/request.py", "        outputs.check(request.output, outputs.ARTIFACT, request.force, request.inputs)\n", "", _OUT),
    Mutant("volo_edge/report/markdown.py", "key=lambda row: -fall(row)", "key=lambda row: fall(row)", _REP),
    Mutant("volo_edge/report/markdown.py", "data.photographs + len(data.unreadable) < data.available", "data.photographs < data.available", _REP),
    Mutant("volo_edge/report/html.py", "one.passed is True for one in known", "one.passed is not False for one in known", _REP),
    Mutant("volo_edge/report/html.py", "    image.thumbnail((_SIDE, _SIDE))\n", "", _REP),
    Mutant("volo_edge/checkpoint/scan.py", "max(0, taken - self._storages.get(key, 0))", "taken", f"{_CHE} {_HOS}"),
    Mutant("volo_edge/checkpoint/scan.py", "math.prod(sides) if dense else 0", "0", f"{_HOS} {_CHE}"),
    Mutant("volo_edge/checkpoint/scan.py", "if len(items) > 1 and items[1] not in _ENCODINGS:", "if False:", _HOS),
    Mutant("volo_edge/checkpoint/storage.py", " or len({info.filename for info in infos}) < len(infos)", "", f"{_HOS} {_CHE}"),
    Mutant("volo_edge/checkpoint/storage.py", "return members is None or member in members", "return True", _LAY),
    Mutant("volo_edge/checkpoint/storage.py", "    if not all(_sound(archive, info) for info in archive.infolist()):", "    if False:", f"{_CHE} {_HOS}"),
    Mutant("volo_edge/checkpoint/entries.py", "next((entry for entry in entries if entry.average), entries[0])", "entries[0]", f"{_LAY} {_CHE}"),
    Mutant("volo_edge/checkpoint/entries.py", "key=len, default=None)", "key=lambda one: -len(one), default=None)", f"{_LAY} {_CHE}"),
    Mutant("volo_edge/checkpoint/shapes.py", "4)[1], 2 * patch", "4)[1], patch", f"tests/test_own_model.py {_LAY} {_CHE}"),
    Mutant("volo_edge/checkpoint/shapes.py", "and heads[0][0] != heads[1][0]:", "and False:", f"{_CHE} {_LAY}"),
    Mutant("volo_edge/checkpoint/build.py", '(state[name] < 0).any()', "False", _CHE),
    Mutant("volo_edge/checkpoint/build.py", 'mode="bicubic"', 'mode="bilinear"', _CHE),
    Mutant("volo_edge/checkpoint/build.py", "torch.float32, copy=True,", "torch.float32, copy=False,", _CHE),
    Mutant("volo_edge/checkpoint/build.py", "> _MOST_TIMES * size:", "> 99 * _MOST_TIMES * size:", f"{_HOS} {_CHE}"),
    Mutant("volo_edge/inputs.py", 'len(digits.lstrip("-"))', "len(digits)", f"{_HOS} {_ART}"),
    Mutant("volo_edge/inputs.py", " + int(name) + int(extra)", " + int(name)", f"{_CHE} {_HOS}"),
    Mutant("volo_edge/inputs.py", 'return read_bytes(path).decode("utf-8-sig")', "return read_bytes(path).decode()", _MUL),
    Mutant("volo_edge/jpeg.py", '"progressive" in image.info or ', "", f"{_PRE} {_HOS}"),
    Mutant("volo_edge/jpeg.py", " or data[place + 1] == 0xFF:", ":", f"{_PRE} {_HOS}"),
    Mutant("volo_edge/plain.py", " or text != text.strip() or not text else", " or not text else", _PLA),
    Mutant("volo_edge/plain.py", '("Cc", "Cf", "Cs", "Zl", "Zp")', '("Cc", "Cs", "Zl", "Zp")', _PLA),
    Mutant("volo_edge/trained.py", "said.setdefault(ours, value)", "said[ours] = value", _TRN),
    Mutant("volo_edge/trained.py", 'if value not in (None, "", [], ()):', "if value is not None:", _TRN),
    Mutant("volo_edge/trained.py", "if in_chans == 3 else {}", "if True else {}", f"{_TRN} {_LAY}"),
    Mutant("volo_edge/labels.py", "while seen[name] > 1 and new in taken:", "if seen[name] > 1 and new in taken:", _LAB),
    Mutant("volo_edge/labels.py", "    if len(own) == num_classes:", "    if own:", _LAB),
    Mutant("volo_edge/preprocess.py", "start = round((side - crop) / 2)", "start = (side - crop) // 2", _PRE),
    Mutant("volo_edge/preprocess.py", "(values >> 8)", "(values // 257)", _PRE),
    Mutant("volo_edge/preprocess.py", "max(width, height) > MAX_SIDE", "False", f"{_PRE} {_HOS}"),
    Mutant("volo_edge/preprocess.py", "math.ceil(2 * max(scale, 1)) + 1", "math.ceil(max(scale, 1))", _PRE),
    Mutant("volo_edge/preprocess.py", "    ImageFile.LOAD_TRUNCATED_IMAGES = False", "    pass", f"{_PRE} {_HOS}"),
    Mutant("volo_edge/predict.py", 'np.argsort(-logits, kind="stable")', 'np.argsort(-found, kind="stable")', _MUL),
    Mutant("volo_edge/predict.py", "                if named:\n", "                if False:\n", _MUL),
    Mutant("volo_edge/difference.py", "[*ours, *(place for place in theirs if place not in ours)]", "[*ours]", _DIF),
    Mutant("volo_edge/difference.py", "weights == biases == 0", "weights == 0", _DIF),
    Mutant("volo_edge/app.py", "or there is None or there in known.get(name, ()):", "or there is None:", _APP),
    Mutant("volo_edge/app.py", "elif known.get(name) == {wanted}:", "elif name in known:", _APP),
    Mutant("volo_edge/app.py", "_write_record(folder, working, platform, both)", "_write_record(folder, working, platform, now)", _APP),
    Mutant("volo_edge/device_results.py", "    chip: str | None\n", "    chip: str\n", "tests/test_device_results.py"),
    Mutant("volo_edge/reference/file.py", "    if len(labels) and not -1 <= labels.min() <= labels.max() < max(folders, 0):", "    if False:", f"{_HOS} {_REF}"),
    Mutant("volo_edge/reference/compute.py", "            deterministic(before)", "            pass", _REF),
    Mutant("volo_edge/reference/request.py", '    if wanted.output.suffix != ".npz":', "    if False:", _REF),
    Mutant("volo_edge/sensitivity/kept.py", "            if not self.of_another:", "            if True:", _SEN),
    Mutant("volo_edge/outputs.py", "        check(path, kind, force, sources)\n        place.new.mkdir()", "        place.new.mkdir()", _OUT),
    Mutant("volo_edge/outputs.py", "        place.new.mkdir()", "        place.new.mkdir(0o700)", _OUT),
    Mutant("calibration/images.py", "found.st_mtime_ns, found.st_ino)", "found.st_mtime_ns, 0)", _IMA),
    Mutant("calibration/images.py", 'len(tops) > 1 or any(name.count("/") > 1 for name in names)', "True", _IMA),
    Mutant("calibration/images.py", 'rank(images.classes[label]) if images.classes else b""', "b\"\"", _IMA),
    Mutant("calibration/images.py", "                self._free += pixels", "                pass", _IMA),
    Mutant("calibration/doubts.py", "> max(2, num_classes):", "> num_classes:", _DOU),
    Mutant("calibration/doubts.py", "possible = min(num_classes, len(images))", "possible = num_classes", _DOU),
    Mutant("converters/targets.py", "dict.fromkeys((model, self.target.name, self.backend, self.scheme.name))", "(model, self.target.name, self.backend, self.scheme.name)", f"{_SCH} {_ART}"),
    Mutant("converters/targets.py", "    if minimum_ios is not None and minimum_ios < lowest:", "    if False:", _SCH),
    Mutant("converters/executorch/program.py", "(named.get(name) != size) if name", "(name not in named) if name", _PTE),
    Mutant("converters/executorch/program.py", '(entry["offset"] + size > inline_bytes)', "False", _PTE),
    Mutant("converters/executorch/program.py", 'int(scales["zero_point"]), lowest, lowest + 255)', 'int(scales["zero_point"]), lowest, lowest + 127)', _PTE),
    Mutant("converters/executorch/program.py", "halves >> 4), -1).astype(np.float32) - 8", "halves >> 4), -1).astype(np.float32) - 7", _PTE),
    Mutant("converters/executorch/program.py", 'axes[scales["channel_dim"]] = -1', "axes[-1] = -1", _PTE),
    Mutant("converters/executorch/program.py", 'if start + segment["size"] > len(self.data):', "if False:", _PTE),
    Mutant("converters/coreml/program.py", "zero, lowest, lowest + 255)", "zero, lowest, lowest + 127)", _COR),
    Mutant("converters/coreml/program.py", 'if "zero_point" in arguments else 0', "if False else 0", _COR),
    Mutant("converters/coreml/program.py", "value.size * _BITS[dtype] // 8", "value.nbytes", _COR),
    Mutant("converters/coreml/program.py", "shape[1] // blocks if blocks > 1 else 0", "blocks if blocks > 1 else 0", _COR),
    Mutant("converters/coreml/program.py", " and shape[1] == 1 and shape[0] > 1:", " and shape[1] == 1:", _COR),
    Mutant("converters/coreml/lower.py", "inner.chmod(0o755 if inner.is_dir() else 0o644)", "pass", _COR),
    Mutant("converters/coreml/evaluator/operators.py", '        "concat",\n        "crop",', '        "add",\n        "concat",\n        "crop",', _EVR),
    Mutant("converters/coreml/evaluator/operators.py", '        "reduce_min",\n', '        "reduce_min",\n        "reduce_sum",\n', _EVR),
    Mutant("converters/coreml/evaluator/operators.py", '{"same": (few, many), "same_lower": (many, few)}', '{"same": (many, few), "same_lower": (few, many)}', _EVR),
    Mutant("converters/coreml/evaluator/operators.py", "    return steps.clamp(*_RANGES[output_dtype])", "    return steps", _EVR),
    Mutant("converters/coreml/evaluator/__init__.py", 'return value.half().float() if self.arithmetic == "typed" and given.dtype == "fp16" else value', "return value", _EVR),
    Mutant("converters/coreml/evaluator/__init__.py", "    if unbound:\n", "    if False:\n", _EVR, same="such a package is refused when it is read"),
    Mutant("converters/coreml/evaluator/package.py", "(count * dtype.bits + 7) // 8", "count * dtype.bits // 8", _EVR),
    Mutant("converters/coreml/evaluator/package.py", "if start + size > len(file):", "if False:", _EVR),
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
        options = ("-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "--durations=0")
        options += (f"--timeout={SECONDS}", "--timeout-method=thread")  # which ends more than a signal
        command = [sys.executable, "-m", "pytest", *options, *mutant.tests.split()]
        try:
            ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=3 * SECONDS)
        except subprocess.TimeoutExpired:
            return True
        return ended.returncode != 0  # 1 where one fails; more where nothing can be imported, less where Python crashes


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
