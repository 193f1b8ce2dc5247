"""What VOLO costs as it grows: with the image, and from variant to variant. Time, memory, seconds to convert.

    python benchmarks/scale.py --output docs/results/scale

Converts VOLO-D1 at four image sizes and D1 to D5 at 224 pixels (see `conversion.py`); then times the files, each in a
process of its own and their turns interleaved, as `volo-edge benchmark` does. Writes `scale.json`, `scale.svg` and a
table. The files are 5 GB together.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.conversion import convert, memory, write_weights
from volo_edge import artifact, calibration, machine
from volo_edge.benchmark.measure import race
from volo_edge.calibration.images import balanced_subset, find_images, stream
from volo_edge.console import Steps
from volo_edge.converters.executorch.program import read_forward

SCHEMES = ("fp32", "int8-dynamic")
SIZES = (224, 384, 448, 512)
VARIANT = "volo_d1_224"
NAMES = tuple(f"volo_d{number}_224" for number in range(1, 6))
ROUNDS, RUNS = 7, 3
COLUMNS = (
    "model",
    "pixels",
    "scheme",
    "10^9 products",
    "ms",
    "MB file",
    "MB planned",
    "MB to run",
    "MB to convert",
    "convert / weights",
)


def figures(name: str, side: int, scheme: str, folder: Path, weights: Path) -> dict[str, Any]:
    """What converting cost, and what is in the file."""
    made, said = convert(name, scheme, weights, folder, side=side)
    return made | {
        "size": side,
        "relative_error": said["manifest"]["parity"][0]["relative_error"],
        "planned_bytes": sum(read_forward(artifact.read(folder).model_path).plan["non_const_buffer_sizes"]),
    }


def timed(found: list[dict[str, Any]], folders: list[Path], threads: int) -> None:
    """Adds to each what its file takes for an image: the turns' milliseconds, and the memory."""
    with tempfile.TemporaryDirectory() as place:
        asked = {}
        for number, folder in enumerate(folders):
            some = balanced_subset(find_images(calibration.DEMO_CALIBRATION), 1, seed=0)
            (batch,) = stream(some, artifact.read(folder).manifest.preprocessing, 1)
            np.save(images := Path(place) / f"{number}.npy", batch.inputs)
            asked[str(number)] = {"kind": "artifact", "folder": str(folder), "images": str(images), "threads": threads}
        times, ready, refused = race(asked, ROUNDS, RUNS, threads, Path(place), Steps(None))
    if refused:
        raise SystemExit(f"{refused}")
    for number, one in enumerate(found):
        one |= {"turns": times[str(number)], "memory": ready[str(number)].memory}


def exponent(found: list[dict[str, Any]], of: str) -> float:
    """p of time ~ of**p, a straight line through the logarithms by least squares."""
    places = np.log([one[of] for one in found])
    return float(np.polyfit(places, np.log([median(one["turns"]) for one in found]), 1)[0])


def table(found: list[dict[str, Any]]) -> str:
    """In Markdown."""
    lines = [
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
    ]
    for one in found:
        cells = (
            one["model"],
            one["size"],
            one["scheme"],
            f"{one['macs'] / 1e9:.1f}",
            f"{median(one['turns']):.0f}",
            *(f"{one[key] / 1e6:.1f}" for key in ("file_bytes", "planned_bytes")),
            *(f"{one[key] / 1e6:.0f}" for key in ("memory", "peak_bytes")),
            f"{memory(one):.1f}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def draw(sizes: list[dict[str, Any]], variants: list[dict[str, Any]], path: Path) -> None:
    """Time against the image's side and against the variant's products, both axes in logarithms."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for axes, found, of, label in (
        (left, sizes, "size", "pixels a side, VOLO-D1"),
        (right, variants, "macs", "VOLO-D1 to D5 at 224 pixels, by their multiplications"),
    ):
        for scheme, colour in zip(SCHEMES, ("#332288", "#117733"), strict=True):
            some = [one for one in found if one["scheme"] == scheme]
            label_of = f"{scheme}: exponent {exponent(some, of):.2f}"
            places, times = [one[of] for one in some], [median(one["turns"]) for one in some]
            spread = [[t - min(o["turns"]), max(o["turns"]) - t] for t, o in zip(times, some, strict=True)]
            axes.errorbar(places, times, yerr=np.transpose(spread), fmt="o-", color=colour, label=label_of, capsize=2)
        axes.set(xscale="log", yscale="log", xlabel=label, ylabel="milliseconds an image")
        axes.set_yticks(steps := (50, 100, 200, 500, 1000), [str(step) for step in steps])
        axes.grid(True, alpha=0.2)
        axes.legend(fontsize=8)
    left.set_xticks(SIZES, [str(side) for side in SIZES])
    right.set_xticks([one["macs"] for one in variants[:: len(SCHEMES)]], [name[5:7].upper() for name in NAMES])
    for axes in (left, right):
        axes.minorticks_off()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--output", type=Path, default=Path("scale"))
    args = parser.parse_args()
    threads = machine.this().cores
    found: list[dict[str, Any]] = []
    wanted = [(VARIANT, size) for size in SIZES] + [(name, SIZES[0]) for name in NAMES[1:]]
    with tempfile.TemporaryDirectory() as place:
        folders = []
        for name, size in wanted:
            weights = Path(place) / "weights.safetensors"
            write_weights(name, weights, size)
            for scheme in SCHEMES:
                folders.append(Path(place) / f"{name}-{size}-{scheme}")
                found.append(figures(name, size, scheme, folders[-1], weights))
                print(found[-1], file=sys.stderr, flush=True)
        sizes = [number for number, one in enumerate(found) if one["model"] == VARIANT]
        variants = [number for number, one in enumerate(found) if one["size"] == SIZES[0]]
        larger = [number for number in variants if number not in sizes]
        timed([found[n] for n in sizes + larger], [folders[n] for n in sizes + larger], threads)
    args.output.mkdir(parents=True, exist_ok=True)
    draw([found[n] for n in sizes], [found[n] for n in variants], args.output / "scale.svg")
    contents = {"machine": asdict(machine.this()), "threads": threads, "rounds": ROUNDS, "runs": RUNS, "results": found}
    (args.output / "scale.json").write_text(json.dumps(contents, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
