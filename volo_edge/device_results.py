"""What an app measured of an artifact on a phone: the JSON file that it writes, field for field.

The JSON Schema in `docs/device-results.schema.json` is made from it. `volo-edge evaluate --device-results FILE` puts
such files into its report, next to the figures of this machine, by the hash of the artifact's model file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from volo_edge.formats import Format

FORMAT_VERSION = 1

Thermal = Literal["nominal", "fair", "serious", "critical", "unknown"]


@dataclass(frozen=True)
class App:
    """The app that measured."""

    name: str
    version: str
    platform: Literal["ios", "android"]


@dataclass(frozen=True)
class Device:
    """The phone; `chip` is null where the system does not tell."""

    manufacturer: str
    model: str
    os: str
    os_version: str
    chip: str | None


@dataclass(frozen=True)
class ArtifactRun:
    """Which artifact, from its manifest; `model_sha256` is that of the role "model" among its files."""

    model: str
    target: str
    backend: str
    scheme: str
    model_sha256: str


@dataclass(frozen=True)
class Engine:
    """What ran the file: its name, its version, the processors it might use, and its threads."""

    name: Literal["Core ML", "Core AI", "ExecuTorch"]
    version: str | None
    compute: Literal["cpu_only", "cpu_and_gpu", "cpu_and_neural_engine", "all", "xnnpack"]
    threads: int | None


@dataclass(frozen=True)
class DeviceCase:
    """One photograph of the self-test.

    Args:
        name: of the case.
        tensor_max_difference: of the input that the phone made from that of the artifact, in levels of 0..255.
        logits_relative_error: |device - artifact| / |artifact|, in the 2-norm.
        expected, predicted: index of the class of the largest logit.
        passed: whether both are within tolerance.
    """

    name: str
    tensor_max_difference: float
    logits_relative_error: float
    expected: int
    predicted: int
    passed: bool


@dataclass(frozen=True)
class DeviceSelftest:
    """The artifact's self-test, run on the phone; `tolerance` is of the logits' relative error."""

    passed: bool
    tolerance: float
    cases: tuple[DeviceCase, ...]


@dataclass(frozen=True)
class Benchmark:
    """How long the phone took.

    Args:
        warmup: runs before the measured ones.
        runs: how many were measured.
        load_ms: to load the model.
        min_ms, mean_ms, median_ms, p90_ms, p99_ms: of the runs.
        latencies_ms: each of them, in order.
        thermal_before, thermal_after: what the system said of its temperature.
        peak_memory_bytes: the most that the process has held: on iOS the peak of its footprint, which the system
            limits and which files that are mapped, as weights may be, are not part of; on Android the peak of its
            resident memory (VmHWM), which they are part of. null where the system does not tell.
    """

    warmup: int
    runs: int
    load_ms: float
    min_ms: float
    mean_ms: float
    median_ms: float
    p90_ms: float
    p99_ms: float
    latencies_ms: tuple[float, ...]
    thermal_before: Thermal
    thermal_after: Thermal
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class DeviceResults:
    """One run of an app on one phone.

    Args:
        format_version: 1.
        made_at: UTC, ISO 8601: "2026-01-31T12:00:00Z".
        app, device, artifact, engine: what measured, where, what, with what.
        selftest, benchmark: null where they were not run.
    """

    format_version: Literal[1]
    made_at: str
    app: App
    device: Device
    artifact: ArtifactRun
    engine: Engine
    selftest: DeviceSelftest | None
    benchmark: Benchmark | None


FORMAT = Format(DeviceResults, FORMAT_VERSION, "results file of an app", "let the app write it again")


if __name__ == "__main__":
    import json

    print(json.dumps(FORMAT.schema(), indent=2))
