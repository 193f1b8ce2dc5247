"""Artifacts that several tests look at: each is converted once, by the installed command."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import run

Converted = tuple[Path, dict[str, Any]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests have more time, and with it what they wait for: an artifact that another test would convert too."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small models only wait for each other's threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def small_heap() -> Iterator[None]:
    """Every conversion by coremltools collects garbage, most of its time for a small program: what is loaded stays."""
    import coremltools  # noqa: F401

    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def _converted(target: str, scheme: str, factory: pytest.TempPathFactory) -> Converted:
    output = factory.mktemp(target) / "artifact"
    said = ("--author", "A. Person", "--license", "CC0")
    ended = run("convert", "--target", target, "--quantize", scheme, "--json", "--output", output, *said)
    assert ended.status == 0, ended.err
    return output, json.loads(ended.out)


@pytest.fixture(scope="session")
def executorch_artifact(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """The demo model as an ExecuTorch program in single precision: the folder, and what `--json` said."""
    return _converted("executorch", "fp32", tmp_path_factory)


@pytest.fixture(scope="session")
def coreml_artifact(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """The demo model as a Core ML package in half precision: the folder, and what `--json` said."""
    return _converted("coreml", "fp16", tmp_path_factory)


@pytest.fixture(scope="session")
def coreai_artifact(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """The demo model as a Core AI asset in single precision: the folder, and what `--json` said."""
    return _converted("coreai", "fp32", tmp_path_factory)
