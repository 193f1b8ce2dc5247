"""The command line: one short function a verb. What a verb does is in the module of its name."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from volo_edge import __version__, interrupts, outputs, plain, show
from volo_edge.console import Console, Steps, captured
from volo_edge.entry import wants_json
from volo_edge.errors import Ending, GateError, RequestError, did_you_mean, ending

if TYPE_CHECKING:
    from volo_edge.artifact import Artifact
    from volo_edge.selftest import Tested
    from volo_edge.trained import ModelRequest

EXIT_STATUS = "exit status: 0 done; 2 bad request or input, or interrupted; 3 a gate failed; 1 anything else"


class Parser(argparse.ArgumentParser):
    """argparse with its errors in one line, and the closest word for one that is misspelt."""

    def error(self, message: str) -> NoReturn:
        unknown = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if unknown:
            word, known = unknown.groups()
            message = f"no '{word}' here: {did_you_mean(word, [name.strip(chr(39)) for name in known.split(', ')])}"
        raise RequestError(f"{message}; see '{self.prog} --help'")


def _model(args: argparse.Namespace) -> ModelRequest:
    """The trained model that a command names, and what it says of it."""
    from volo_edge.trained import ModelRequest

    return ModelRequest(**{name.name: getattr(args, name.name) for name in fields(ModelRequest)})


@contextmanager
def _importing(steps: Steps) -> Iterator[None]:
    """Around the import of torch, whose C++ aborts the process when an exception comes up in it."""
    with steps.step("importing torch"), interrupts.held_back():
        yield


def convert(args: argparse.Namespace, console: Console) -> None:
    """Convert a VOLO to a file that phones run, and prove the file."""
    from volo_edge.request import Request, check

    request = Request(
        target=args.target,
        backend=args.backend,
        scheme=args.quantize,
        minimum_ios=args.minimum_ios,
        model=_model(args),
        photographs=args.calibration,
        calibration_size=args.calibration_size,
        labels=args.labels,
        activation=args.activation,
        author=args.author,
        license=args.license,
        runtime=args.runtime,
        processors=args.arm64_cpu,
        output=args.output,
        force=args.force,
    )
    check(request)
    with console.progress() as steps:
        with _importing(steps):
            from volo_edge.artifact import as_json
            from volo_edge.convert import convert as run
        result = run(request, steps)
    if console.json:
        times = {"lowering_seconds": result.lowering_seconds, "seconds": result.seconds}
        written = {"artifact": str(result.folder), "notes": result.notes, "skipped": result.skipped, **times}
        console.result(written | {"manifest": as_json(result.manifest)})
    show.converted(console, result)


def predict(args: argparse.Namespace, console: Console) -> None:
    """Classify photographs with an artifact: the five likeliest classes of each."""
    from volo_edge import artifact
    from volo_edge.request import check_processors, check_runtime

    found = artifact.read(args.artifact)
    check_runtime(args.runtime, found.manifest.backend)
    check_processors(args.arm64_cpu, args.runtime)
    if len(args.arm64_cpu) > 1:
        raise RequestError("predict runs the file on one processor: name one with --arm64-cpu")
    for path in args.images:
        if not path.exists():
            raise RequestError(f"there is no image or folder at {path}")
    with console.progress() as steps:
        from volo_edge.predict import predict as run

        result = run(found, args.images, steps, args.runtime, *args.arm64_cpu)
    if console.json:
        console.result(asdict(result))
    show.predictions(console, result)


def inspect(args: argparse.Namespace, console: Console) -> None:
    """Show what is in an artifact's file."""
    from volo_edge import artifact
    from volo_edge.converters.executorch.arm64.processors import USUAL
    from volo_edge.converters.targets import TARGETS
    from volo_edge.request import check_against, check_processors, check_profile, check_runtime

    found = artifact.read(args.artifact)
    check_runtime(args.runtime, found.manifest.backend)
    check_processors(args.arm64_cpu, args.runtime)
    check_profile(args.profile, args.threads, args.runtime, found.manifest.backend)
    if args.against is not None:
        check_against(args.profile, args.runtime)
        _compare(found, artifact.read(args.against), console)
        return
    program = TARGETS[found.manifest.target].module("program").read_program(found.model_path)
    artifact.require_signature(found, *program.signature)
    tested: tuple[Tested, ...] = ()
    profile = None
    if args.runtime and not args.profile:
        from volo_edge import selftest

        with console.progress() as steps:
            tested = selftest.run(found, args.runtime, args.arm64_cpu, steps)
    if args.profile:
        with console.progress() as steps:
            with _importing(steps):
                from volo_edge.profile import profile as run
            processors = (args.arm64_cpu or USUAL) if args.runtime == "arm64" else ()
            profile = run(found, args.threads, steps, processors)
    if console.json:
        told: dict[str, Any] = {"manifest": artifact.as_json(found.manifest), "program": asdict(program)}
        told |= {"selftest": [asdict(one) | {"passed": one.passed} for one in tested]} if tested else {}
        console.result(told | ({"profile": asdict(profile)} if profile else {}))
    show.inspected(console, found, program)
    show.tested(console, tested, found.manifest.photographs)
    if profile:
        show.profiled(console, profile)
    failed = [one for one in tested if not one.passed]
    if failed:
        where = "; ".join(f"{one.processor}: relative error {one.relative_error:.1e}" for one in failed)
        raise GateError(f"the self-test fails on {where} of the logits, where {failed[0].tolerance:.0e} is allowed")


def _compare(found: Artifact, other: Artifact, console: Console) -> None:
    """Show what differs between two artifacts."""
    from volo_edge.difference import compare

    with console.progress() as steps, steps.step("comparing"):
        result = compare(found, other)
    if console.json:
        console.result({"artifact": str(found.folder), "against": str(other.folder), "difference": asdict(result)})
    show.compared(console, found, other, result)


def app(args: argparse.Namespace, console: Console) -> None:
    """Write an app for phones with an artifact in it, or refresh one."""
    from volo_edge.app import make
    from volo_edge.artifact import as_json

    with console.progress() as steps, steps.step("writing"):
        result = make(args.platform, args.artifact, args.output, args.force)
    if console.json:
        done = {"written": result.written, "removed": result.removed, "kept": result.kept}
        console.result({"app": str(result.folder), **done, "manifest": as_json(result.manifest)})
    show.app(console, result, args.artifact)


def benchmark(args: argparse.Namespace, console: Console) -> None:
    """Time artifacts: here, beside other runtimes, or on a connected phone."""
    if args.device != "host":
        _on_phone(args, console)
        return
    from volo_edge.benchmark.request import Request, check

    for option in ("app", "serial", "compute"):
        if getattr(args, option) is not None:
            raise RequestError(f"--{option} is for a phone: say which with --device android or --device ios")
    request = Request(
        artifacts=tuple(args.artifacts),
        against=tuple(args.against.split(",")) if args.against else (),
        weights=args.weights,
        threads=args.threads,
        rounds=args.rounds,
        runs=Request.runs if args.runs is None else args.runs,
        output=args.output or Request.output,
        force=args.force,
    )
    check(request)
    with console.progress() as steps:
        with _importing(steps):
            from volo_edge.benchmark.measure import benchmark as run
        result = run(request, steps)
    if console.json:
        console.result({"output": str(request.output), "benchmark": asdict(result)})
    show.timed(console, result, request.output)


def _on_phone(args: argparse.Namespace, console: Console) -> None:
    """Self-test and time an artifact's app on a connected phone, and fetch the numbers."""
    from volo_edge.device_results import FORMAT
    from volo_edge.devices.benchmark import RUNS, Request, check
    from volo_edge.devices.benchmark import benchmark as run

    if len(args.artifacts) > 1:
        raise RequestError("a phone has the app of one artifact: give one")
    if args.against or args.weights:
        raise RequestError("--against and --weights are for this machine: leave them or --device out")
    request = Request(
        platform=args.device,
        artifact=args.artifacts[0],
        app=args.app,
        serial=args.serial,
        warmup=args.warmup,
        runs=RUNS if args.runs is None else args.runs,
        threads=args.threads,
        compute=args.compute,
        output=args.output,
        force=args.force,
    )
    check(request)
    with console.progress() as steps:
        result = run(request, steps)
    if console.json:
        console.result({"output": str(result.output), "results": FORMAT.as_json(result.results)})
    show.benchmarked(console, result)
    result.require_pass()


def sensitivity(args: argparse.Namespace, console: Console) -> None:
    """Measure what quantizing each layer costs, on real photographs."""
    from volo_edge.sensitivity.request import Request, check

    request = Request(
        target=args.target,
        backend=args.backend,
        scheme=args.quantize,
        model=_model(args),
        calibration=args.calibration,
        calibration_size=args.calibration_size,
        data=args.data,
        limit=args.limit,
        output=args.output,
        force=args.force,
    )
    check(request)
    with console.progress() as steps:
        with _importing(steps):
            from volo_edge.sensitivity.measure import measure, prepare
        result = measure(prepare(request, steps), steps)
    if console.json:
        written: dict[str, Any] = {"output": str(result.folder), "skipped": result.skipped, "doubts": result.doubts}
        written |= {"notes": result.notes, "assumed": [asdict(one) for one in result.assumed]}
        console.result(
            written | {"resumed": result.resumed, "seconds": result.seconds, "sensitivity": asdict(result.sensitivity)}
        )
    show.sensitivity(console, result)


def reference(args: argparse.Namespace, console: Console) -> None:
    """Compute the float model's answers for a folder of photographs, on a GPU where there is one."""
    from volo_edge.reference.request import Request, check

    request = Request(
        model=_model(args),
        data=args.data,
        device=args.device,
        limit=args.limit,
        output=args.output,
        force=args.force,
    )
    check(request)
    with interrupts.resumable(outputs.state(request.output)), console.progress() as steps:
        with _importing(steps):
            from volo_edge.reference.compute import compute
        result = compute(request, steps)
    if console.json:
        read = result.reference.read
        counts = {"photographs": int(read.sum()), "unreadable": int((~read).sum())}
        written: dict[str, Any] = {"output": str(result.path), **counts}
        written |= {"notes": result.notes, "assumed": [asdict(one) for one in result.assumed]}
        record = asdict(result.reference.record)
        console.result(written | {"resumed": result.resumed, "seconds": result.seconds, "record": record})
    show.reference(console, result)


def evaluate(args: argparse.Namespace, console: Console) -> None:
    """Judge artifacts' saved files on photographs against the float model, and write an accuracy report."""
    from volo_edge.evaluate.request import Request, check

    request = Request(
        artifacts=tuple(args.artifacts),
        data=args.data,
        limit=args.limit,
        class_map=args.class_map,
        threshold=args.threshold,
        reference=args.reference,
        reference_device=args.reference_device,
        weights=args.weights,
        calibration=args.calibration,
        device_results=tuple(args.device_results),
        runtime=args.runtime,
        processors=args.arm64_cpu,
        arm64_limit=args.arm64_limit,
        max_drop=args.max_drop,
        expected_top1=args.expected_top1,
        output=args.output,
        force=args.force,
        command=args.command,
    )
    check(request)
    with interrupts.resumable(outputs.state(request.output)), console.progress() as steps:
        with _importing(steps):
            from volo_edge.evaluate.measure import evaluate as run
            from volo_edge.evaluate.prepare import prepare
        result = run(prepare(request, steps), steps)
    if console.json:
        from volo_edge.report.contents import FORMAT

        written = {"output": str(result.folder), "resumed": result.resumed, "seconds": result.seconds}
        console.result(written | {"report": FORMAT.as_json(result.report)})
    show.evaluated(console, result)
    failed = [one.name for one in result.report.artifacts if one.passed is False]
    if failed and (doubt := result.report.float_model.doubt):
        raise GateError(f"the gate fails, for the float model's own answers cannot be right: {doubt}")
    if failed:
        raise GateError(
            f"{len(failed)} of {len(request.artifacts)} artifact(s) may lose more than {request.max_drop:g} points of "
            f"{result.report.figure} (its 95 % interval decides): {', '.join(failed)}; {result.folder}/ says where"
        )


def models(args: argparse.Namespace, console: Console) -> None:
    """List the models that have a name."""
    from volo_edge.variants import VARIANTS

    if console.json:
        console.result({name: asdict(variant) | {"hub": variant.hub} for name, variant in VARIANTS.items()})
    show.models(console)


def schemes(args: argparse.Namespace, console: Console) -> None:
    """List the quantization schemes."""
    from volo_edge.quantize import SCHEMES

    if console.json:
        console.result({name: asdict(scheme) | {"calibrates": scheme.calibrates} for name, scheme in SCHEMES.items()})
    show.schemes(console)


def doctor(args: argparse.Namespace, console: Console) -> int:
    """Look at what this machine has and what is missing."""
    from volo_edge.doctor import examine

    with console.progress() as steps, steps.step("looking"):
        findings = examine()
    if console.json:
        console.result({"findings": [asdict(finding) for finding in findings]})
    show.doctor(console, findings)
    return 1 if any(finding.ok is False for finding in findings) else 0


def pixels(text: str) -> tuple[int, int]:
    """(height, width) of "224" or "96x160"."""
    sides = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text, re.ASCII)
    if not sides:
        raise argparse.ArgumentTypeError(f"'{text}' is no image size: give a number of pixels, or HEIGHTxWIDTH")
    return int(sides[1]), int(sides[2] or sides[1])


def numbers(text: str) -> tuple[float, ...]:
    """What "0.5,0.5,0.5" or "0.5" says."""
    return tuple(float(part) for part in text.split(","))


def names(text: str) -> tuple[str, ...]:
    """What "a,b" lists, each once."""
    return tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))


def parser() -> Parser:
    """The whole command line."""
    result = Parser(prog="volo-edge", description="VOLO image classifiers on phones.", epilog=EXIT_STATUS)
    result.add_argument("--version", action="version", version=f"volo-edge {__version__}")
    verbs = result.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(run: Any) -> Parser:
        added: Parser = verbs.add_parser(run.__name__, help=run.__doc__, description=run.__doc__, epilog=EXIT_STATUS)
        added.add_argument(
            "--json",
            action="store_true",
            help="the result, or the error, as one JSON object on standard output",
        )
        added.set_defaults(run=run)
        return added

    def model(sub: Parser) -> None:
        """The arguments that say which model."""
        sub.add_argument(
            "--model", metavar="NAME", help="see 'volo-edge models'; found from the weights where left out"
        )
        sub.add_argument(
            "--weights",
            metavar="FILE",
            help=".pth.tar, .pth, .ckpt, .safetensors, hf-hub:OWNER/NAME; else the demo's",
        )
        sub.add_argument("--image-size", metavar="N", type=pixels, help="pixels a side, or HEIGHTxWIDTH")
        said = sub.add_argument_group(
            "how it was trained", "found in the weights' config.json or arguments, else as the published models were"
        )
        said.add_argument(
            "--entry", metavar="NAME", help="where in the checkpoint the weights are: state_dict_ema, ..."
        )
        said.add_argument(
            "--architecture",
            metavar="FILE.json",
            type=Path,
            help="heads of a VOLO of no known kind; docs/checkpoints.md",
        )
        said.add_argument("--pool", metavar="token|avg|mean", help="what the head reads: timm's global_pool")
        said.add_argument("--mean", metavar="R,G,B", type=numbers, help="of the pixels in 0..1; one number for all")
        said.add_argument("--std", metavar="R,G,B", type=numbers, help="their standard deviation")
        said.add_argument("--crop-pct", metavar="F", type=float, help="side of the crop over that of the photograph")
        said.add_argument("--resize", metavar="N", type=pixels, help="pixels the photograph is resized to, instead")
        said.add_argument("--interpolation", metavar="bicubic|bilinear", help="of the resizing")
        said.add_argument("--crop-mode", metavar="center|squash", help="keep the photograph's shape, or do not")

    def program(sub: Parser) -> None:
        """The arguments that say what is to be made of which model."""
        sub.add_argument("--target", required=True, metavar="executorch|coreml|coreai", help="the kind of file")
        sub.add_argument("--backend", metavar="NAME", help="what computes it on the phone")
        sub.add_argument("--quantize", metavar="SCHEME", help="see 'volo-edge schemes'")
        model(sub)
        sub.add_argument(
            "--calibration-size", metavar="N", type=int, default=256, help="photographs to fit a scheme to (256)"
        )

    def runtime(sub: Parser) -> None:
        sub.add_argument("--runtime", metavar="native|evaluator|arm64", help="what runs the file; see docs/arm64.md")
        sub.add_argument(
            "--arm64-cpu", metavar="NAME,...", type=names, default=(), help="whose code --runtime arm64 runs"
        )

    sub = verb(convert)
    program(sub)
    sub.add_argument("--calibration", metavar="DIR", type=Path, help="real photographs to fit and prove the file on")
    sub.add_argument("--labels", metavar="FILE", type=Path, help="names of the classes: a line each, JSON or CSV")
    sub.add_argument(
        "--activation",
        metavar="softmax|sigmoid",
        help="classes that exclude each other (softmax, which is taken for two or more outputs), or independent labels "
        "(sigmoid)",
    )
    sub.add_argument("--author", metavar="TEXT", default="", help="who a package for Core ML or Core AI says it is by")
    sub.add_argument(
        "--license", metavar="TEXT", default="", help="what a package for Core ML or Core AI says of its license"
    )
    runtime(sub)
    sub.add_argument("--minimum-ios", metavar="N", type=int, help="lowest iOS of a file for Core ML or Core AI")
    sub.add_argument("--output", metavar="DIR", type=Path, help="the artifact to write; MODEL-TARGET-SCHEME otherwise")
    sub.add_argument("--force", action="store_true", help="replace an artifact that is there")

    sub = verb(predict)
    sub.add_argument("artifact", metavar="ARTIFACT", type=Path, help="a folder that convert wrote")
    sub.add_argument("images", metavar="IMAGE", type=Path, nargs="+", help="photographs, or folders of them")
    runtime(sub)

    sub = verb(inspect)
    sub.add_argument("artifact", metavar="ARTIFACT", type=Path, help="a folder that convert wrote")
    sub.add_argument("--against", metavar="ARTIFACT", type=Path, help="say what differs from that one, in its stead")
    sub.add_argument("--profile", action="store_true", help="time the file here, and its parts: where its time goes")
    sub.add_argument("--threads", metavar="N", type=int, help="of the runtime that --profile times (all cores)")
    runtime(sub)

    sub = verb(sensitivity)
    program(sub)
    sub.add_argument("--calibration", metavar="DIR", type=Path, help="real photographs to fit the scheme to")
    sub.add_argument("--data", metavar="DIR", type=Path, help="other photographs, to measure on; in class folders")
    sub.add_argument("--limit", metavar="N", type=int, default=500, help="photographs to measure on (500)")
    sub.add_argument("--output", metavar="DIR", type=Path, help="the folder to write")
    sub.add_argument("--force", action="store_true", help="replace an earlier result that is there")

    sub = verb(reference)
    model(sub)
    sub.add_argument("--data", metavar="DIR", type=Path, required=True, help="photographs, in class folders or without")
    sub.add_argument(
        "--device", metavar="auto|cpu|cuda|mps", default="auto", help="what computes; the fastest there is"
    )
    sub.add_argument("--limit", metavar="N", type=int, help="photographs, as many of each class; all otherwise")
    sub.add_argument("--output", metavar="FILE.npz", type=Path, required=True, help="the file to write")
    sub.add_argument("--force", action="store_true", help="replace a file that is there")

    sub = verb(evaluate)
    sub.add_argument("artifacts", metavar="ARTIFACT", type=Path, nargs="+", help="folders that convert wrote")
    sub.add_argument("--data", metavar="DIR", type=Path, required=True, help="photographs, in class folders")
    sub.add_argument("--limit", metavar="N", type=int, help="photographs, as many of each class; all otherwise")
    runtime(sub)
    sub.add_argument(
        "--arm64-limit", metavar="N", type=int, default=500, help="of them, those to judge ARM64 code on (500)"
    )
    sub.add_argument(
        "--class-map",
        metavar="FILE",
        type=Path,
        help="class of each folder or photograph, or its independent labels: JSON, CSV, or ImageNet's val.txt",
    )
    sub.add_argument(
        "--threshold", metavar="P", type=float, help="probability from which on an independent label is said (0.5)"
    )
    sub.add_argument("--reference", metavar="FILE.npz", type=Path, help="what 'volo-edge reference' wrote")
    sub.add_argument(
        "--reference-device", metavar="auto|cpu|cuda|mps", default="auto", help="what computes it where none is given"
    )
    sub.add_argument("--weights", metavar="FILE", help="the checkpoint that the artifacts were made from; the demo's")
    sub.add_argument(
        "--calibration",
        metavar="DIR",
        type=Path,
        help="what they were calibrated on, to see that it is not in the data",
    )
    sub.add_argument(
        "--device-results", metavar="FILE", type=Path, nargs="+", default=[], help="what apps measured, for the report"
    )
    sub.add_argument(
        "--max-drop",
        metavar="POINTS",
        type=float,
        help="gate: accuracy (top-1, or of labels) that may be lost for sure",
    )
    sub.add_argument(
        "--expected-top1", metavar="PERCENT", type=float, help="what the float model is known to reach on them"
    )
    sub.add_argument("--output", metavar="DIR", type=Path, default=Path("report"), help="the folder to write (report)")
    sub.add_argument("--force", action="store_true", help="replace an earlier report that is there")

    sub = verb(app)
    sub.add_argument("platform", metavar="ios|android", help="the kind of phone")
    sub.add_argument("artifact", metavar="ARTIFACT", type=Path, help="a folder that convert wrote")
    sub.add_argument("--output", metavar="DIR", type=Path, required=True, help="the app to write or refresh")
    sub.add_argument("--force", action="store_true", help="replace files that were edited since")

    sub = verb(benchmark)
    sub.add_argument("artifacts", metavar="ARTIFACT", type=Path, nargs="+", help="folders that convert wrote")
    sub.add_argument("--device", default="host", metavar="host|android|ios", help="this machine, or a phone (host)")
    sub.add_argument(
        "--against",
        metavar="NAME,...",
        help="eager, compile, onnxruntime[-int8], openvino[-int8], mnn[-int8], ncnn, litert[-int8]",
    )
    sub.add_argument("--weights", metavar="FILE", help="the checkpoint that the artifacts were made from; the demo's")
    sub.add_argument("--threads", metavar="N", type=int, help="of each runtime, or of ExecuTorch on Android")
    sub.add_argument("--rounds", metavar="N", type=int, default=9, help="turns of each, here (9)")
    sub.add_argument("--runs", metavar="N", type=int, help="timed runs: in a turn here (7), on a phone in all (100)")
    sub.add_argument("--warmup", metavar="N", type=int, default=10, help="runs before the timed ones, on a phone (10)")
    sub.add_argument("--app", metavar="DIR", type=Path, help="install this app first; else the one that is there runs")
    sub.add_argument("--serial", metavar="ID", help="which phone, where several are connected")
    sub.add_argument(
        "--compute", metavar="UNITS", help="of Core ML and Core AI on iOS: all, cpu_and_neural_engine, ..."
    )
    sub.add_argument("--output", metavar="PATH", type=Path, help="the folder (of a phone, the file) to write")
    sub.add_argument("--force", action="store_true", help="replace an earlier result that is there")

    for run in (models, schemes, doctor):
        verb(run)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    words = sys.argv[1:] if argv is None else argv
    console = None
    try:
        with interrupts.heard():
            args = parser().parse_args(words)
            args.command = shlex.join(["volo-edge", *words])
            with captured(args.json) as console:
                status = args.run(args, console)
                console.finish()
        return int(status or 0)
    except BrokenPipeError:  # whoever read the result has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (Exception, KeyboardInterrupt) as error:
        end = ending(error)
        if end.kind == "bug":
            for line in traceback.format_exc().splitlines():
                print(plain.line(line), file=sys.stderr)
        return _fail(end, wants_json(words) if console is None else console.json, console)


def _fail(end: Ending, json: bool, console: Console | None) -> int:
    """Say how a command ends that does not end well: in a line, and where JSON is wanted in the one object there is."""
    print(f"volo-edge: {plain.line(end.message)}", file=sys.stderr)
    if json and sys.stdout is not None and not (console and console.finished):
        with suppress(OSError):  # standard output is what is bad
            text = plain.as_json((console.told if console else {}) | end.as_json())
            sys.stdout.buffer.write(f"{text}\n".encode())
            sys.stdout.flush()
    return end.status
