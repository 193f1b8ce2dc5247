"""What apps write: the published schema, and the ways a file can be bad."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from volo_edge.device_results import FORMAT
from volo_edge.errors import RequestError

SCHEMA = Path(__file__).parents[1] / "docs" / "device-results.schema.json"

RESULTS: dict[str, Any] = {
    "format_version": 1,
    "made_at": "2026-01-31T12:00:00Z",
    "app": {"name": "VOLO Edge", "version": "0.1.0", "platform": "android"},
    "device": {"manufacturer": "Example", "model": "Phone 1", "os": "Android", "os_version": "16", "chip": None},
    "artifact": {
        "model": "volo_cifar10",
        "target": "executorch",
        "backend": "xnnpack",
        "scheme": "int8-dynamic",
        "model_sha256": "0" * 64,
    },
    "engine": {"name": "ExecuTorch", "version": "1.5.1", "compute": "xnnpack", "threads": 4},
    "selftest": {
        "passed": True,
        "tolerance": 0.1,
        "cases": [
            {
                "name": "0",
                "tensor_max_difference": 0,
                "logits_relative_error": 1e-6,
                "expected": 3,
                "predicted": 3,
                "passed": True,
            }
        ],
    },
    "benchmark": {
        "warmup": 3,
        "runs": 2,
        "load_ms": 21.5,
        "min_ms": 4.0,
        "mean_ms": 4.5,
        "median_ms": 4.5,
        "p90_ms": 5.0,
        "p99_ms": 5.0,
        "latencies_ms": [4.0, 5.0],
        "thermal_before": "nominal",
        "thermal_after": "fair",
        "peak_memory_bytes": None,
    },
}


def changed(*keys: str, value: object) -> dict[str, Any]:
    """The results with one value set."""
    results = copy.deepcopy(RESULTS)
    place = results
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return results


def refused(path: Path, results: object) -> str:
    path.write_text(json.dumps(results))
    with pytest.raises(RequestError) as error:
        FORMAT.read(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_published_schema_is_the_readers() -> None:
    assert json.loads(SCHEMA.read_text()) == FORMAT.schema(), "run 'make schema'"


@pytest.mark.parametrize("part", ["", "selftest", "benchmark"])
def test_good_results_are_read_and_fit_the_schema(tmp_path: Path, part: str) -> None:
    results = changed(part, value=None) if part else RESULTS
    jsonschema.validate(results, FORMAT.schema())
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert FORMAT.as_json(FORMAT.read(tmp_path / "results.json")) == results


@pytest.mark.parametrize("name", ["Core ML", "Core AI", "ExecuTorch"])
def test_every_engine_of_the_apps_is_known(tmp_path: Path, name: str) -> None:
    (tmp_path / "results.json").write_text(json.dumps(changed("engine", "name", value=name)))
    assert FORMAT.read(tmp_path / "results.json").engine.name == name


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("app", "platform"), "windows"),
        (("engine", "compute"), "abacus"),
        (("engine", "name"), "ONNX Runtime"),
        (("benchmark", "thermal_after"), "warm"),
        (("benchmark", "median_ms"), "4 ms"),
        (("selftest", "cases"), None),
        (("device", "colour"), "red"),
        (("artifact",), None),
    ],
)
def test_bad_results_are_refused_by_the_reader_and_by_the_schema(
    tmp_path: Path, keys: tuple[str, ...], value: object
) -> None:
    results = changed(*keys, value=value)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(results, FORMAT.schema())
    said = refused(tmp_path / "results.json", results)
    assert "is no results file of an app" in said and ".".join(keys) in said


def test_a_field_that_is_missing(tmp_path: Path) -> None:
    results = copy.deepcopy(RESULTS)
    del results["device"]["chip"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(results, FORMAT.schema())
    assert "device.chip: Field required" in refused(tmp_path / "results.json", results)


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert "of format 2, and this volo-edge reads 1" in refused(path, changed("format_version", value=2))
    assert "is damaged" in refused(path, [])
    path.write_text("{")
    with pytest.raises(RequestError, match="is damaged"):
        FORMAT.read(path)
    with pytest.raises(RequestError, match="is damaged"):
        FORMAT.read(tmp_path / "none.json")
