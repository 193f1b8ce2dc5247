"""Results as people read them: tables and sentences on a console. Programs get the same facts from `--json`."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from volo_edge.activation import MEANING, counted
from volo_edge.console import Console
from volo_edge.converters.program import RESHAPES
from volo_edge.machine import instruction_set

if TYPE_CHECKING:
    from pathlib import Path

    from volo_edge.app import App
    from volo_edge.artifact import Artifact, Manifest
    from volo_edge.benchmark.measure import Benchmark
    from volo_edge.convert import Converted
    from volo_edge.converters.program import HalfPrecision, Layer, Operation, Program, TensorType
    from volo_edge.devices.benchmark import Benchmarked
    from volo_edge.difference import Difference
    from volo_edge.doctor import Finding
    from volo_edge.evaluate.measure import Result as EvaluationResult
    from volo_edge.predict import Predictions
    from volo_edge.profile import Profile
    from volo_edge.reference.compute import Result as ReferenceResult
    from volo_edge.selftest import Tested
    from volo_edge.sensitivity.kept import Layer as MeasuredLayer
    from volo_edge.sensitivity.kept import Measured
    from volo_edge.sensitivity.measure import Result
    from volo_edge.trained import Assumed
    from volo_edge.validate.parity import Parity

_FEW_FIELDS, _WIDE = 40, 48  # fields that differ, and characters of each, in a table


def command(*words: object) -> str:
    """A command to be pasted: every word in it, a path for one, is one word of a shell's too."""
    texts = map(str, words)
    return shlex.join(f"./{text}" if text.startswith("-") and not text.startswith("--") else text for text in texts)


def size(count: float) -> str:
    """Bytes for people, in powers of ten as app stores count: "29.2 MB"."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} bytes"


def skipped(console: Console, names: Sequence[str]) -> None:
    """Files that were not read, those of formats that are not apart from the others: how many, and the first few."""
    from volo_edge.calibration.images import SAVE, unread_formats

    unread, others = unread_formats(names)
    for kind, what, remedy in (
        (unread, "in formats that are not read", f"; {SAVE}"),
        (others, "that are no images", ""),
    ):
        if kind:
            more = f" and {len(kind) - 5} more" if len(kind) > 5 else ""
            console.note(f"skipped {len(kind)} file(s) {what}: {', '.join(kind[:5])}{more}{remedy}")


def doubts(console: Console, sentences: Sequence[str]) -> None:
    """What speaks against the calibration photographs."""
    for sentence in sentences:
        console.note(f"calibration: {sentence}")


def notes(console: Console, sentences: Sequence[str]) -> None:
    """What was chosen, left or taken for granted."""
    for sentence in sentences:
        console.note(sentence)


def trained(console: Console, manifest: Manifest) -> None:
    """Which model it is, where it was in the checkpoint, and all that was taken for what its tensors do not say."""
    model = manifest.model
    where = f", from {model.entry or 'the top'}" + (f" without '{model.prefix}'" if model.prefix else "")
    resized = "" if model.trained_size == model.image_size else f", trained at {_pixels(model.trained_size)}"
    console.say(
        f"model    {model.name}, {counted(model.num_classes, model.activation)}, {_pixels(model.image_size)} pixels"
        f"{resized}{where if model.entry or model.prefix else ''}"
    )
    console.say(f"head     {model.activation}: {MEANING[model.activation]}")
    assumed(console, model.assumed)


def assumed(console: Console, found: Sequence[Assumed]) -> None:
    """A line for each who said something of how a model was trained: what it was, and who it was."""
    by_source: defaultdict[str, list[str]] = defaultdict(list)
    for one in found:
        by_source[one.source].append(f"{one.what} {one.value}")
    for number, (source, said) in enumerate(by_source.items()):
        console.say(f"{'' if number else 'assumed':9}{', '.join(said)} ({source})")


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def models(console: Console) -> None:
    """The models that have a name."""
    from volo_edge.variants import DEMO, VARIANTS

    rows = []
    for variant in VARIANTS.values():
        a = variant.architecture
        rows.append(
            (
                variant.name,
                f"{a.image_size[0]}x{a.image_size[1]}",
                str(a.num_classes),
                "-".join(map(str, a.layers)),
                "-".join(map(str, a.embed_dims)),
                f"{variant.top1:.1f} %",
                variant.hub or "shipped with volo-edge",
            )
        )
    console.table(("model", "pixels", "classes", "layers", "widths", "top-1", "--weights"), rows, ("classes", "top-1"))
    console.say(f"top-1 is the published ImageNet accuracy; of {DEMO} (the default), measured on CIFAR-10.")


def schemes(console: Console) -> None:
    """The quantization schemes."""
    from volo_edge.converters.targets import DEFAULT_SCHEMES
    from volo_edge.quantize import SCHEMES

    def takes(backend: str, name: str) -> str:
        return f"{backend} (default)" if DEFAULT_SCHEMES[backend] == name else backend

    rows = [
        (
            scheme.name,
            scheme.summary,
            ", ".join(takes(backend, scheme.name) for backend in scheme.backends),
            "yes" if scheme.calibrates else "no",
            str(scheme.minimum_ios) if "coreml" in scheme.backends else "any",
            f"{scheme.tolerance:.0e}",
        )
        for scheme in SCHEMES.values()
    ]
    console.table(("scheme", "what it does", "backends", "calibrates", "lowest iOS, Core ML", "parity within"), rows)


def doctor(console: Console, findings: Sequence[Finding]) -> None:
    """What the machine has and what is missing."""
    marks = {True: "ok", False: "MISSING", None: "-"}
    rows = [(marks[f.ok], f.what, f.needed, f.found, f.remedy) for f in findings]
    console.table(("", "what", "needed", "found", "what to do"), rows)


def parity(console: Console, manifest: Manifest) -> None:
    """A line for each runtime and processor on how the file there compares with the float model."""
    for number, one in enumerate(manifest.parity):
        console.say(f"{'' if number else 'parity':9}{_parity(one)}")


def _parity(p: Parity) -> str:
    if p.passed is None:
        return f"not run: {p.note}"
    exclusive = p.labels_agreement is None
    what, share = ("top-1 agrees", p.top1_agreement) if exclusive else ("labels agree", p.labels_agreement)
    figures = (
        f"relative error {p.relative_error:.1e}, largest {p.max_abs_error:.1e}, SNR {_number(p.snr_db, '.0f')} dB, "
        f"{what} on {_number(share, '.1%')} of {p.images} photographs"
    )
    what = "its twin in single precision, which does not ship, " if p.twin else ""
    return f"{what}{'passed' if p.passed else 'FAILED'} in {_where(p)}: {figures} (tolerance {p.tolerance:.0e})"


def _where(one: Parity | Tested) -> str:
    """What ran a file, on which processor, and the instructions that tell which kernels did."""
    return f"{one.runtime}, {one.processor}" + (f" ({', '.join(one.instructions)})" if one.instructions else "")


def converted(console: Console, result: Converted) -> None:
    """What a conversion wrote, how it compares with the float model, and what to do next."""
    from volo_edge.quantize import SCHEMES

    manifest = result.manifest
    graph, model = manifest.graph, manifest.files["model"]
    skipped(console, result.skipped)
    notes(console, result.notes)
    calibrated = manifest.quantization.calibration
    doubts(console, calibrated.doubts if calibrated else ())
    if warning := SCHEMES[manifest.quantization.scheme].warning:
        console.note(f"{manifest.quantization.scheme}: {warning}")
    console.say(f"wrote    {result.folder}/{model.path}  {size(model.bytes)}, {result.seconds:.0f} s")
    trained(console, manifest)
    parity(console, manifest)
    if manifest.half_precision is not None:
        console.say(f"range    {_range(manifest.half_precision)}")
    if graph.delegate_calls is not None:
        outside = ", ".join(op.operator for op in graph.undelegated_ops) or "no operator"
        console.say(f"graph    {graph.delegate_calls} delegate call(s), {outside} outside")
    console.say(f"next     {command('volo-edge', 'predict', result.folder, 'PHOTO.jpg')}")
    console.say(f"         {command('volo-edge', 'inspect', result.folder)}")
    if manifest.target == "coreml":
        console.say(f"         drag {model.path} into Xcode")
    if manifest.target == "coreai":
        console.say(f"         add {model.path} to an app for iOS 27 in Xcode 27")
    if advice := SCHEMES[manifest.quantization.scheme].advice:
        console.say(f"         {advice}")


def _range(half: HalfPrecision) -> str:
    """How near half precision's limits a package's values come."""
    hazards = [
        f"{len(names)} operator(s) {what}, {names[0]} for one"
        for names, what in (
            (half.near_maximum, "make values that may overflow"),
            (half.vanishing, "make values too small for it"),
            (half.kept_single, "compute in single precision instead"),
        )
        if names
    ]
    return f"up to {half.largest:.3g} in {half.largest_in}, half precision holds 65504" + "".join(
        f"; {hazard}" for hazard in hazards
    )


def predictions(console: Console, result: Predictions) -> None:
    """The likeliest classes of each photograph."""
    from volo_edge.converters.runner import is_for_proof

    skipped(console, result.skipped)
    no_phones = result.processor.startswith("arm64 ") or is_for_proof(result.runtime)
    for prediction in result.predictions:
        time = "" if no_phones else f"{prediction.milliseconds:.1f} ms, "
        console.say(f"{prediction.image}  ({time}{result.runtime}, {result.processor})")
        for guess in prediction.classes:
            console.say(f"  {guess.probability:6.1%}  {guess.label}")
    console.say(f"{result.activation}: {MEANING[result.activation]}")
    if result.compared is not None:
        other = f"{result.compared.runtime}, {result.compared.processor}"
        console.say(f"{other} differs by {result.compared.relative_error:.1e} of the logits")


def inspected(console: Console, artifact: Artifact, program: Program) -> None:
    """What an artifact's file holds."""
    m = artifact.manifest
    say = console.say
    trained(console, m)
    say(
        f"weights  {m.model.weights}, sha256 {m.model.weights_sha256[:16]}, {m.model.parameters / 1e6:.1f} M parameters"
    )
    say(f"target   {m.target} ({m.backend}), {m.quantization.scheme}, {_requirement(m)}")
    say(f"file     {m.files['model'].path}, {size(program.file_bytes)}")
    inputs = ", ".join(f"{list(t.shape)} {t.dtype}" for t in program.inputs)
    say(f"input    {inputs}: {_pixels(m.model.image_size)}, {m.preprocessing.color} in 0..255")
    say(f"output   {', '.join(_output(t) for t in program.outputs)}")
    say(f"macs     {m.graph.macs / 1e9:.2f} billion an image")
    parity(console, m)
    if m.half_precision is not None:
        say(f"range    {_range(m.half_precision)}")
    if program.delegates is not None:
        say(f"calls    {len(program.delegates)} delegate call(s): {', '.join(program.delegates)}")
    if program.largest_rank is not None:
        say(f"rank     {program.largest_rank} axes at most, {program.opset}")
    for op in m.graph.undelegated_ops:
        say(f"outside  {op.operator}, {op.count} time(s): {op.reason or 'no reason given'}")
    console.table(
        ("tensors", "bytes", "share"),
        [(kind, size(count), f"{count / program.file_bytes:.1%}") for kind, count in program.bytes_by_kind.items()],
        ("bytes", "share"),
    )
    rows = [
        (
            str(number),
            layer.kind,
            "x".join(map(str, layer.shape)),
            _weights(layer),
            layer.activation_dtype,
            size(layer.bytes),
        )
        for number, layer in enumerate(program.layers, 1)
    ]
    console.table(("layer", "kind", "shape", "weights", "activations", "bytes"), rows, ("layer", "bytes"))
    console.table(
        ("layers", "count", "weights", "activations", "bytes"),
        [
            (kind, str(n), weights, activations, size(b))
            for (kind, weights, activations), n, b in _grouped(program.layers)
        ],
        ("count", "bytes"),
    )
    if program.operations is not None:
        _operations(console, program.operations)
    else:
        counts = [(name, str(count)) for name, count in program.operators.items()]
        console.table(("operator", "count"), counts, ("count",))


def compared(console: Console, here: Artifact, there: Artifact, found: Difference) -> None:
    """What differs between two artifacts; of each section the first few fields."""
    console.say(f"same     {'yes' if found.same else 'no'}: {_sameness(here, there, found)}")
    names = (here.name, there.name) if here.name != there.name else (str(here.folder), str(there.folder))
    for section, changes in found.sections.items():
        if not changes:
            continue
        rows = [(change.field, _value(change.here), _value(change.there)) for change in changes[:_FEW_FIELDS]]
        console.table((section, *names), rows)
        if len(changes) > _FEW_FIELDS:
            console.say(f"         and {len(changes) - _FEW_FIELDS} more of {section}: --json lists them")
    if found.layers is None:
        console.say(f"layers   not compared: {found.why_not}")
        return
    layers = [
        (
            str(layer.number),
            layer.kind,
            "x".join(map(str, layer.shape)),
            layer.here,
            layer.there,
            _number(layer.weights, ".2e", "not finite"),
            f"{layer.largest:.2e}",
            _number(layer.biases, ".2e", "not finite"),
        )
        for layer in found.layers
    ]
    numbers = ("layer", "weights differ by", "of at most", "biases differ by")
    if layers:
        console.table(("layer", "kind", "shape", *names, *numbers[1:]), layers, numbers)
    console.say(f"layers   {len(found.layers)} of {found.compared} hold other weights, or store them otherwise")


def _sameness(here: Artifact, there: Artifact, found: Difference) -> str:
    """Which files of two artifacts have the same bytes."""
    ours, theirs = here.manifest.files, there.manifest.files
    if found.same:
        return f"all {len(ours)} files and the manifest"
    same = [role for role, file in ours.items() if role in theirs and theirs[role].sha256 == file.sha256]
    model = "the same" if "model" in same else "another"
    return f"the model's file is {model}; {len(same)} of {len(ours.keys() | theirs.keys())} files have the same bytes"


def _value(value: object) -> str:
    """A manifest's value in a table."""
    text = "-" if value is None else str(value)
    return text if len(text) <= _WIDE else f"{text[:_WIDE]}..."


def tested(console: Console, results: Sequence[Tested], photographs: str) -> None:
    """What self-tests found on photographs that are from the place so called."""
    if results:
        console.note(f"the self-test's photographs are from {photographs}")
    for one in results:
        console.say(
            f"test     {'passed' if one.passed else 'FAILED'} in {_where(one)}: relative error "
            f"{one.relative_error:.1e} of the logits of {one.photographs} photographs (tolerance {one.tolerance:.0e})"
        )


def profiled(console: Console, profile: Profile) -> None:
    """Where a file's time goes."""
    together = sum(part.count * part.milliseconds for part in profile.parts)
    rows = [
        (
            part.name,
            part.kind,
            str(part.count),
            f"{part.milliseconds:.2f}",
            f"{part.count * part.milliseconds:.2f}",
            f"{part.count * part.milliseconds / together:.0%}",
            f"{2e-6 * part.macs / part.milliseconds:.0f}",
        )
        for part in profile.parts
    ]
    numbers = ("count", "ms", "ms together", "share", "GOP/s")
    console.table(("part", "what", *numbers), rows, numbers)
    console.say(
        f"time     {profile.milliseconds:.2f} ms an image, {profile.threads} thread(s), {profile.machine.processor}; "
        f"the parts, each compiled alone, take {together:.2f} together"
    )
    _instructions(console, profile)


def _instructions(console: Console, profile: Profile) -> None:
    """What ARM64 processors would execute of the parts, where that was counted."""
    names = tuple(profile.parts[0].instructions)
    if not names:
        return
    together = {name: sum(part.count * part.instructions[name] for part in profile.parts) for name in names}
    rows = []
    for part in profile.parts:
        counts = {name: part.count * part.instructions[name] for name in names}
        cells = (f"{1e-6 * count:.2f} ({count / together[name]:.0%})" for name, count in counts.items())
        rows.append((part.name, part.kind, str(part.count), f"{part.count * part.milliseconds:.2f}", *cells))
    ms = sum(part.count * part.milliseconds for part in profile.parts)
    rows.append(("", "the parts together", "", f"{ms:.2f}", *(f"{1e-6 * together[name]:.2f}" for name in names)))
    if profile.instructions:
        whole = (f"{1e-6 * profile.instructions[name]:.2f}" for name in names)
        rows.append(("", "the file", "", f"{profile.milliseconds:.2f}", *whole))
    numbers = ("count", f"ms, {instruction_set()}", *names)
    console.say()
    console.table(("part", "what", *numbers), rows, numbers)
    console.say("counted  millions of ARM64 instructions an image, in one thread in qemu: they are no times")


def _output(tensor: TensorType) -> str:
    """An output by name: of a program without names, its only one."""
    kind = {"string": "the likeliest class", "dictionaryType": "probabilities by class"}
    return f"{tensor.name or 'logits'}: {kind.get(tensor.dtype, f'{list(tensor.shape)} {tensor.dtype}')}"


def _operations(console: Console, operations: Sequence[Operation]) -> None:
    """A package's operators with their shapes, and what is published against them on the Neural Engine."""
    planned = any(o.unit for o in operations)  # by Core ML, on a Mac
    groups = Counter((o.kind, o.shape, o.dtype, o.unit, o.reasons) for o in operations)
    moved: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for o in operations:
        moved[o.kind, o.shape] += o.bytes
    rows = [
        (
            kind,
            "x".join(map(str, shape)),
            dtype,
            str(count),
            size(moved[kind, shape]),
            *((unit or "",) if planned else ()),
            "; ".join(reasons),
        )
        for (kind, shape, dtype, unit, reasons), count in groups.items()
    ]
    units = ("planned on",) if planned else ()
    names = ("operator", "makes", "type", "count", "reads and writes", *units, "Neural Engine")
    console.table(names, rows, ("count", "reads and writes"))
    copies = [o for o in operations if o.copies]
    transposes = sum(o.kind == "transpose" for o in copies)
    reshapes = sum(o.kind in RESHAPES for o in copies)
    console.say(
        f"copies   {transposes} transposes, {reshapes} reshapes, {len(copies) - transposes - reshapes} others: "
        f"{size(sum(o.bytes for o in copies))} of {size(sum(o.bytes for o in operations))} that are read and written"
    )
    against = Counter(reason for o in operations for reason in o.reasons)
    for reason, count in against.most_common():
        console.say(f"warning  {count} operator(s): {reason}")
    if against:
        sources = "letters are sources, in docs/coreml.md and docs/coreai.md"
        console.say(f"         {sources}; where an operator runs is known on a device only")


def sensitivity(console: Console, result: Result) -> None:
    """The layers whose quantization costs most, and where the rest is."""
    from volo_edge.sensitivity.request import PLOT, REPORT

    skipped(console, result.skipped)
    notes(console, result.notes)
    doubts(console, result.doubts)
    found = result.sensitivity
    request, worst = found.request, sorted(found.layers, key=_by_snr)[:10]
    rows = [
        (layer.name, layer.kind, layer.weights, layer.activations, *_cells(layer.only), *_cells(layer.without))
        for layer in worst
    ]
    rows.append(("all layers", "", "", "", *_cells(found.quantized), "-", "-", "-"))
    numbers = ("alone: dB", "other class", "top-1 lost", "left out: dB", "other class ", "top-1 lost ")
    console.table(("layer", "kind", "weights", "activations", *numbers), rows, numbers)
    top1 = "" if found.float_top1 is None else f", of which the float model knows {found.float_top1:.1f} %"
    console.say(f"of {len(found.layers)} layers that {request['scheme']['name']} quantizes, those it costs most for")
    console.say(f"dB are the logits' signal to noise ratio; the rest are points, of {found.photographs} images{top1}")
    assumed(console, result.assumed)
    console.say(f"measured on {found.measured_on}")
    console.say(f"wrote    {result.folder}/{REPORT} and {PLOT}, {result.seconds:.0f} s")
    console.say(f"next     look at {result.folder}/{PLOT}")
    convert = ("volo-edge", "convert", "--target", request["target"], "--backend", request["backend"])
    console.say(f"         {command(*convert, '--quantize', request['scheme']['name'])} to measure a file")


def reference(console: Console, result: ReferenceResult) -> None:
    """What the float model said, on what, and what to do with it."""
    found, record = result.reference, result.reference.record
    skipped(console, [name for name, read in zip(found.files, found.read, strict=True) if not read])
    notes(console, result.notes)
    if result.resumed:
        console.note(f"{result.resumed} photograph(s) were done by an earlier run and are not done again")
    console.say(f"wrote    {result.path}  {size(result.path.stat().st_size)}, {result.seconds:.0f} s")
    console.say(f"model    {record.model}, weights sha256 {record.weights_sha256[:16]}")
    assumed(console, result.assumed)
    console.say(f"device   {record.device_name}, {record.arithmetic}, torch {record.versions['torch']}")
    console.say(f"data     {int(found.read.sum())} photographs, list sha256 {record.list_sha256[:16]}")
    evaluate = command("volo-edge", "evaluate", "ARTIFACT", "--data", "DIR", "--reference", result.path)
    console.say(f"next     {evaluate}")


def evaluated(console: Console, result: EvaluationResult) -> None:
    """The artifacts side by side, what was found of each, and where the rest is."""
    from volo_edge.report.contents import HTML, JSON, MARKDOWN
    from volo_edge.report.markdown import (
        DOUBTED,
        float_model,
        judged,
        judged_columns,
        notes,
        processor_columns,
        processors,
    )

    report = result.report
    if report.float_model.doubt:
        console.note(f"{DOUBTED} {report.float_model.doubt}")
    for sentence in notes(report):
        console.note(sentence)
    if result.resumed:
        console.note(f"{result.resumed} answer(s) were there from an earlier run and were not computed again")
    rows = [
        (
            one.name,
            size(one.bytes),
            *(cell or "-" for cell in judged(report, one)),
            f"{one.agreement:.2f}",
            _number(one.snr_db, ".1f"),
            (one.growth and one.growth.worst) or "-",
            f"{one.latency.median_ms:.1f}",
        )
        for one in report.artifacts
    ]
    numbers = ("size", *judged_columns(report), "agrees %", "SNR dB", "ms")
    console.table(("artifact", *numbers[:-1], "worst block", "ms"), rows, numbers)
    if there := processors(report):
        columns = processor_columns(report)
        console.table(columns, there, columns[3:])
    for one in report.artifacts:
        console.say(f"{one.name} {one.verdict}")
    top1 = report.float_model.top1
    knows = float_model(report.float_model) if top1 is None else f", of which the float model knows {top1:.2f} %"
    console.say(f"on {report.data.photographs} photographs{knows}, {result.seconds:.0f} s")
    console.say(f"wrote    {result.folder}/{HTML}, {MARKDOWN} and {JSON}")
    console.say(f"next     open {result.folder}/{HTML} in a browser")


def _by_snr(layer: MeasuredLayer) -> float:
    return float("inf") if layer.only.snr_db is None else layer.only.snr_db


def _cells(measured: Measured) -> tuple[str, str, str]:
    drop = "-" if measured.top1_drop is None else f"{measured.top1_drop:.1f}"
    return _number(measured.snr_db, ".1f"), f"{measured.disagreement:.1f}", drop


def _requirement(manifest: Manifest) -> str:
    return f"iOS {manifest.minimum_ios} or later" if manifest.minimum_ios else "Android or iOS with ExecuTorch"


def _weights(layer: Layer) -> str:
    return f"{layer.weight_dtype} in groups of {layer.group_size}" if layer.group_size else layer.weight_dtype


def _grouped(layers: Sequence[Layer]) -> list[tuple[tuple[str, str, str], int, int]]:
    """Layers by (kind, weight type, activation type): how many, and their bytes; the largest group first."""
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for layer in layers:
        groups[layer.kind, _weights(layer), layer.activation_dtype].append(layer.bytes)
    found = [(kind, len(counts), sum(counts)) for kind, counts in groups.items()]
    return sorted(found, key=lambda group: -group[2])


def _number(value: float | None, form: str, none: str = "infinite") -> str:
    return none if value is None else format(value, form)


def app(console: Console, result: App, artifact: Path) -> None:
    """What of an app was written, and how to run it."""
    manifest = result.manifest
    if any(one.passed is False for one in manifest.parity):
        console.note("this artifact failed its parity check: the app's self-test proves the file, not the model")
    for name in result.kept:
        console.note(f"{name} was edited and is left as it is")
    changed = f"{result.written} file(s)" + (f", {result.removed} removed" if result.removed else "")
    console.say(f"wrote    {result.folder}  {changed}")
    if result.platform == "android":
        console.say(f"next     open {result.folder} in Android Studio, or build it with gradle assembleDebug")
    else:
        spec = "xcodegen" if manifest.target == "coreml" else f"xcodegen --spec {manifest.target}.yml"
        console.say(f"next     {command('cd', result.folder)} && {spec} && open VoloEdge.xcodeproj  (on a Mac)")
    benchmark = ("volo-edge", "benchmark", artifact, "--device", result.platform, "--app", result.folder)
    console.say(f"         {command(*benchmark)}")


def timed(console: Console, result: Benchmark, output: Path) -> None:
    """How long each contender takes for an image."""
    from volo_edge.benchmark.request import PLOT, REPORT

    fp32 = next((roof.gops for roof in result.roofs if roof.name == "fp32"), None)
    rows = [
        (
            one.name,
            one.what,
            f"{one.milliseconds:.2f}",
            f"{min(one.turns):.2f} to {max(one.turns):.2f}",
            f"{one.ratio:.2f}",
            f"{one.gops:.0f}",
            "" if fp32 is None else f"{one.gops / fp32:.0%}",
            "" if one.relative_error is None else f"{one.relative_error:.0e}",
            "" if one.memory is None else size(one.memory),
        )
        for one in result.timed
    ]
    numbers = ("ms", "spread", "ratio", "GOP/s", "of fp32 roof", "error", "memory")
    console.table(("contender", "what", *numbers), rows, numbers)
    height, width = result.image_size
    console.say(
        f"{result.model} at {height}x{width}, batch 1, {result.threads} thread(s), {result.machine.processor}; medians "
        f"of {result.rounds} turns of {result.runs} runs, ratios to the first's turns of the same rounds"
    )
    for roof in result.roofs:
        console.say(f"roof     {roof.gops:.0f} GOP/s: large matrix products in {roof.name} through XNNPACK")
    for name, why in result.refused.items():
        console.say(f"refused  {name}: {why}")
    console.say(f"wrote    {output}/{REPORT} and {PLOT}")


def benchmarked(console: Console, result: Benchmarked) -> None:
    """What a phone measured."""
    measured = result.results
    device, engine = measured.device, measured.engine
    console.say(f"wrote    {result.output}")
    console.say(f"device   {device.manufacturer} {device.model}, {device.os} {device.os_version}")
    console.say(f"engine   {' '.join(filter(None, (engine.name, engine.version)))}, {engine.compute}")
    if test := measured.selftest:
        worst = max(case.logits_relative_error for case in test.cases)
        verdict = "passed" if test.passed else "FAILED"
        console.say(f"test     {verdict}: relative error {worst:.1e} at worst (tolerance {test.tolerance:.0e})")
    if times := measured.benchmark:
        spread = f"90 % {times.p90_ms:.2f}, 99 % {times.p99_ms:.2f}"
        console.say(f"time     median {times.median_ms:.2f} ms, {spread}, of {times.runs} runs")
        console.say(f"         thermal state {times.thermal_before} before, {times.thermal_after} after")
    console.say(f"next     volo-edge evaluate ... {command('--device-results', result.output)}")
