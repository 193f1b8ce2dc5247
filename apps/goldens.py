"""Golden vectors: inputs, and what the host makes of them, that the cores of the apps are tested against.

`python -m volo_edge.apps.goldens` writes them anew, a copy into each core's tests: `goldens.json` says what is where in
`goldens.bin`, and `artifact` is a small artifact whose model is none.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from volo_edge import artifact, files
from volo_edge.artifact import Manifest
from volo_edge.preprocess import Preprocessing, prepare, to_input
from volo_edge.trained import Assumed
from volo_edge.validate.metrics import sigmoid, softmax
from volo_edge.validate.parity import compare
from volo_edge.variants import DEMO, VARIANTS

FOLDERS = tuple(
    Path(__file__).parent / place
    for place in (
        "android/core/src/test/resources/goldens",
        "ios/VoloEdgeKit/Tests/VoloEdgeKitTests/Goldens",
    )
)
TOP = 5


@dataclass(frozen=True)
class Photo:
    """An image and what is done to it.

    Args:
        height, width: of the stored pixels.
        kind: "noise", "edges" (black and white only: the filter overshoots) or "smooth".
        resize_to, crop: of the preprocessing.
        layout: what the bytes of a pixel are: "rgb", "rgba", "bgra" or "grey".
        orientation: EXIF's.
        others: what else of the preprocessing is not the usual.
    """

    height: int
    width: int
    kind: str
    resize_to: tuple[int, int]
    crop: tuple[int, int]
    layout: str = "rgb"
    orientation: int = 1
    others: dict[str, Any] = field(default_factory=dict)


BILINEAR = {"interpolation": "bilinear"}
SQUASH = {"crop_mode": "squash"}
GREY = {"color": "L", "mean": (0.45,), "std": (0.23,)}

PHOTOS = (
    Photo(32, 32, "noise", (32, 32), (32, 32)),  # nothing to do
    Photo(48, 40, "noise", (33, 33), (32, 32)),  # 1 row to spare, 7 columns
    Photo(40, 61, "edges", (27, 27), (24, 24)),  # 3 rows: half of them rounds up
    Photo(61, 40, "smooth", (29, 29), (24, 24)),  # 5: down
    Photo(150, 113, "noise", (24, 24), (24, 24)),  # far down
    Photo(90, 160, "edges", (23, 23), (22, 22)),
    Photo(13, 11, "noise", (40, 40), (36, 36)),  # up
    Photo(13, 11, "edges", (40, 40), (36, 36)),
    Photo(50, 47, "noise", (27, 27), (32, 32)),  # a border, of different widths
    Photo(47, 50, "smooth", (28, 28), (33, 33)),
    Photo(60, 90, "noise", (28, 28), (32, 32)),  # a border above, a cut beside
    Photo(50, 70, "noise", (24, 40), (24, 40)),  # not square
    Photo(70, 50, "noise", (25, 42), (24, 40)),
    Photo(1, 1, "noise", (16, 16), (16, 16)),
    Photo(1, 90, "noise", (16, 16), (16, 16)),
    Photo(90, 1, "edges", (16, 16), (20, 12)),
    Photo(3, 200, "noise", (17, 17), (16, 16)),
    Photo(35, 44, "noise", (27, 27), (26, 26), layout="rgba"),
    Photo(35, 44, "edges", (27, 27), (26, 26), layout="bgra"),
    Photo(35, 44, "smooth", (27, 27), (26, 26), layout="grey"),
    *(Photo(22, 31, "noise", (17, 17), (16, 18), orientation=orientation) for orientation in range(2, 9)),
    Photo(31, 22, "noise", (20, 20), (18, 18), layout="bgra", orientation=6),
    Photo(90, 160, "edges", (23, 23), (22, 22), others=BILINEAR),
    Photo(13, 11, "noise", (40, 40), (36, 36), others=BILINEAR),
    Photo(61, 40, "noise", (27, 33), (24, 30), others=SQUASH),
    Photo(150, 113, "noise", (24, 40), (26, 40), others=SQUASH | BILINEAR),
    Photo(61, 90, "edges", (28, 31), (28, 28)),  # oblong: both sides rounded
    Photo(77, 45, "noise", (31, 22), (30, 22), others=BILINEAR),
    Photo(48, 40, "noise", (33, 33), (32, 32), others=GREY),
    Photo(35, 44, "edges", (27, 27), (26, 26), layout="bgra", orientation=8, others=GREY | BILINEAR),
    Photo(50, 47, "noise", (27, 20), (32, 18), layout="rgba", others=GREY | SQUASH),
    Photo(13, 20, "edges", (6, 10), (6, 10)),  # oblong: 6.5 rows become 6
    Photo(15, 20, "noise", (6, 10), (8, 10)),  # 7.5 become 8
    Photo(60, 25, "edges", (12, 12), (12, 12)),  # twice as tall as wide: columns first nevertheless
)

LOGITS = (
    (0.5, -1.25, 3.0, 2.5, 0.0, 2.75, -4.0),
    (1.0, 1.0, 1.0, 1.0, 1.0, 1.0),  # equally likely: in the list's order
    (1000.0, -1000.0, 999.0, 0.0, 5.0, -3.0),  # exponents that overflow, probabilities that vanish
    (1000.0, -800.0, 40.0, 41.0, 39.0),  # sigmoids that are 1 to the last bit, the largest first nevertheless
    (0.0, -0.0, 1.0, -0.0, 0.0, -1.0),  # zeros are equal
    (0.1, 0.2, 0.3),  # fewer than five
    (-7.5,),
)

LATENCIES = (
    (5.0,),
    (2.0, 1.0),
    (10.5, 9.25, 11.0, 10.0, 30.0),
    tuple(float(value) for value in range(100, 0, -1)),
)


def main() -> None:
    """Write both copies."""
    first, *others = FOLDERS
    write(first)
    for other in others:
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(first, other)


def write(folder: Path) -> None:
    """Write the goldens into `folder`, in the place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    blob = bytearray()

    def keep(values: bytes) -> list[int]:
        blob.extend(values)
        return [len(blob) - len(values), len(values)]

    photographs = []
    for seed, photo in enumerate(PHOTOS):
        stored = _pixels(photo, seed)
        preprocessing = Preprocessing(resize_to=photo.resize_to, crop=photo.crop, **photo.others)
        expected = prepare(Image.fromarray(upright(stored, photo.orientation)), preprocessing)
        place = {"input": keep(_laid_out(stored, photo.layout)), "expected": keep(expected.tobytes())}
        said = {name: getattr(photo, name) for name in ("height", "width", "layout", "orientation")}
        photographs.append(said | {"preprocessing": asdict(preprocessing)} | place)
    known = [
        {"height": photo.height, "width": photo.width, "input": keep(np.asarray(photo).tobytes())}
        for photo in _write_artifact(folder / "artifact")
    ]
    said = {
        "photographs": photographs,
        "likeliest": [
            {"logits": logits, "activation": activation, "expected": _likeliest(logits, activation)}
            for activation in ("softmax", "sigmoid")
            for logits in LOGITS
        ],
        "latencies": [{"latencies": values, "expected": _statistics(values)} for values in LATENCIES],
        "artifact": known,  # the pixels of its photographs, for where no PNG can be read
    }
    (folder / "goldens.bin").write_bytes(blob)
    files.write_text(folder / "goldens.json", json.dumps(said, indent=1) + "\n")


def _pixels(photo: Photo, seed: int) -> NDArray[np.uint8]:
    """Bytes (height, width, 3); of a grey layout all three alike."""
    random = np.random.default_rng(seed)
    shape = photo.height, photo.width, 3
    if photo.kind == "noise":
        pixels = random.integers(0, 255, shape, np.uint8, endpoint=True)
    elif photo.kind == "edges":
        pixels = np.where(random.random(shape) < 0.5, np.uint8(0), np.uint8(255))
    else:
        rows, columns, channels = np.indices(shape)
        pixels = abs((7 * rows + 5 * columns + 100 * channels) % 510 - 255).astype(np.uint8)
    return np.repeat(pixels[..., :1], 3, axis=2) if photo.layout == "grey" else pixels


def upright(stored: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """`stored` (H, W, 3) as EXIF's orientation has it lie, turned by the reader of photographs itself."""
    from io import BytesIO

    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    Image.fromarray(stored).save(file, "PNG", exif=exif)
    return np.asarray(ImageOps.exif_transpose(Image.open(file)))


def _laid_out(pixels: NDArray[np.uint8], layout: str) -> bytes:
    if layout == "grey":
        return pixels[..., 0].tobytes()
    opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    red, green, blue = np.split(pixels, 3, axis=2)
    channels = {"r": red, "g": green, "b": blue, "a": opaque}
    return np.concatenate([channels[name] for name in layout], axis=2).tobytes()


def _likeliest(logits: Sequence[float], activation: str) -> list[dict[str, Any]]:
    given = np.array(logits, np.float32)
    probabilities = softmax(given) if activation == "softmax" else sigmoid(given)
    best = np.argsort(-given, kind="stable")[:TOP]  # as `predict` has them
    return [{"index": int(index), "probability": round(float(probabilities[index]), 12)} for index in best]


def _statistics(latencies: Sequence[float]) -> dict[str, float]:
    values = {"min": min(latencies), "mean": float(np.mean(latencies))}
    values |= {name: float(np.percentile(latencies, q)) for name, q in (("median", 50), ("p90", 90), ("p99", 99))}
    return {name: round(value, 12) for name, value in values.items()}


def _write_artifact(folder: Path) -> list[Image.Image]:
    """Write an artifact of seven classes, with logits that no model gave; its photographs."""
    folder.mkdir()
    (folder / "model.pte").write_bytes(b"weights")
    labels = (*(f"class {index}" for index in range(6)), "café")
    files.write_text(folder / artifact.LABELS, "\n".join(labels) + "\n")
    preprocessing = Preprocessing.from_crop((24, 20), 0.96)
    sizes = ((30, 44), (41, 29))
    photos = [
        Image.fromarray(_pixels(Photo(*size, "noise", (1, 1), (1, 1)), seed)) for seed, size in enumerate(sizes, 100)
    ]
    inputs = to_input([prepare(photo, preprocessing) for photo in photos])
    logits = np.random.default_rng(7).normal(0, 3, (len(photos), len(labels))).astype(np.float32)
    cases = artifact.write_selftest(folder, photos, inputs, logits, labels)
    artifact.write_manifest(
        folder,
        Manifest(
            model=artifact.ModelInfo(
                name="volo_small",
                parameters=12,
                image_size=preprocessing.crop,
                num_classes=len(labels),
                activation="softmax",
                weights="small.safetensors",
                weights_sha256="0" * 64,
                entry="model",
                prefix="",
                trained_size=preprocessing.crop,
                architecture=VARIANTS[DEMO].architecture,
                assumed=(Assumed("crop-pct", "1.0", "volo_small"),),
            ),
            target="executorch",
            backend="xnnpack",
            minimum_ios=None,
            quantization=artifact.Quantization("fp32", None),
            preprocessing=preprocessing,
            files=artifact.describe_files(folder, "model.pte", cases),
            graph=artifact.Graph(1, (), 5, {}),
            parity=(
                compare(logits, logits, 1e-3, "a runtime", "x86-64"),
                compare(logits, logits + 1e-6, 1e-3, "a runtime", "arm64 armv8.2-dotprod", ("fmla", "sdot")),
            ),
            selftest=artifact.Selftest(cases, "a runtime", 1e-3),
            tools={"volo_edge": "0.1.0"},
        ),
    )
    return photos


if __name__ == "__main__":
    main()
