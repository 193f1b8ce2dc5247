"""Results as people read them: tables and sentences on a console. Programs get the same facts from `--json`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from volo_edge.console import Console

if TYPE_CHECKING:
    from converters.program import Layer, Program
    from volo_edge.artifact import Artifact, Manifest
    from volo_edge.convert import Converted
    from volo_edge.doctor import Finding
    from volo_edge.predict import Predictions


def size(count: float) -> str:
    """Bytes for people, in powers of ten as app stores count: "29.2 MB"."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} bytes"


def skipped(console: Console, names: Sequence[str]) -> None:
    """Files that are no images: how many, and the first few."""
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        console.note(f"skipped {len(names)} file(s) that are no images: {', '.join(names[:5])}{more}")


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
    from converters.targets import TARGETS
    from volo_edge.quantize import SCHEMES

    rows = [
        (
            scheme.name,
            scheme.summary,
            ", ".join(
                name + (" (default)" if TARGETS[name].default_scheme == scheme.name else "") for name in scheme.targets
            ),
            "yes" if scheme.calibrates else "no",
            str(scheme.minimum_ios),
            f"{scheme.tolerance:.0e}",
        )
        for scheme in SCHEMES.values()
    ]
    console.table(("scheme", "what it does", "targets", "calibrates", "lowest iOS", "parity within"), rows)


def doctor(console: Console, findings: Sequence[Finding]) -> None:
    """What the machine has and what is missing."""
    marks = {True: "ok", False: "MISSING", None: "-"}
    rows = [(marks[f.ok], f.what, f.needed, f.found, f.remedy) for f in findings]
    console.table(("", "what", "needed", "found", "what to do"), rows)


def parity(manifest: Manifest) -> str:
    """One line on how the file compares with the float model."""
    p = manifest.parity
    if p.passed is None:
        return f"not run: {p.note}"
    figures = (
        f"relative error {p.relative_error:.1e}, largest {p.max_abs_error:.1e}, SNR {_number(p.snr_db, '.0f')} dB, "
        f"top-1 agrees on {_number(p.top1_agreement, '.1%')} of {p.images} photographs"
    )
    return f"{'passed' if p.passed else 'FAILED'} in {p.runtime}: {figures} (tolerance {p.tolerance:.0e})"


def converted(console: Console, result: Converted) -> None:
    """What a conversion wrote, how it compares with the float model, and what to do next."""
    manifest = result.manifest
    graph, model = manifest.graph, manifest.files["model"]
    skipped(console, result.skipped)
    console.say(f"wrote    {result.folder}/{model.path}  {size(model.bytes)}, {result.seconds:.0f} s")
    console.say(f"parity   {parity(manifest)}")
    if graph.delegate_calls is not None:
        outside = ", ".join(op.operator for op in graph.undelegated_ops) or "no operator"
        console.say(f"graph    {graph.delegate_calls} delegate call(s), {outside} outside")
    console.say(f"next     volo-edge predict {result.folder} PHOTO.jpg")
    console.say(f"         volo-edge inspect {result.folder}")
    if manifest.target == "coreml":
        console.say(f"         drag {model.path} into Xcode")


def predictions(console: Console, result: Predictions) -> None:
    """The likeliest classes of each photograph."""
    skipped(console, result.skipped)
    for prediction in result.predictions:
        console.say(f"{prediction.image}  ({prediction.milliseconds:.1f} ms, {result.runtime})")
        for guess in prediction.classes:
            console.say(f"  {guess.probability:6.1%}  {guess.label}")


def inspected(console: Console, artifact: Artifact, program: Program) -> None:
    """What an artifact's file holds."""
    m = artifact.manifest
    height, width = m.model.image_size
    say = console.say
    say(f"model    {m.model.name}, {m.model.parameters / 1e6:.1f} M parameters, {m.model.num_classes} classes")
    say(f"weights  {m.model.weights}, sha256 {m.model.weights_sha256[:16]}")
    say(f"target   {m.target} ({m.backend}), {m.quantization.scheme}, {_requirement(m)}")
    say(f"file     {m.files['model'].path}, {size(program.file_bytes)}")
    say(f"input    {', '.join(f'{list(t.shape)} {t.dtype}' for t in program.inputs)}: {height}x{width}, RGB in 0..255")
    say(f"output   {', '.join(f'{list(t.shape)} {t.dtype}' for t in program.outputs)}: logits")
    say(f"macs     {m.graph.macs / 1e9:.2f} billion an image")
    say(f"parity   {parity(m)}")
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
    console.table(
        ("layers", "count", "weights", "activations", "bytes"),
        [
            (kind, str(n), weights, activations, size(b))
            for (kind, weights, activations), n, b in _grouped(program.layers)
        ],
        ("count", "bytes"),
    )
    console.table(("operator", "count"), [(name, str(count)) for name, count in program.operators.items()], ("count",))


def _requirement(manifest: Manifest) -> str:
    return f"iOS {manifest.minimum_ios} or later" if manifest.minimum_ios else "Android or iOS with ExecuTorch"


def _grouped(layers: Sequence[Layer]) -> list[tuple[tuple[str, str, str], int, int]]:
    """Layers by (kind, weight type, activation type): how many, and their bytes; the largest group first."""
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for layer in layers:
        groups[layer.kind, layer.weight_dtype, layer.activation_dtype].append(layer.bytes)
    found = [(kind, len(counts), sum(counts)) for kind, counts in groups.items()]
    return sorted(found, key=lambda group: -group[2])


def _number(value: float | None, form: str) -> str:
    return "infinite" if value is None else format(value, form)
