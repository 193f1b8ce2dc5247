"""Where a file's time goes: the parts are the whole model, each quantized and lowered as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.command import refusal, run
from tests.conftest import Converted
from tests.small import SMALL, edge_model
from volo_edge import profile
from volo_edge.converters.targets import choose
from volo_edge.decompose import TOKENS_LAST


@pytest.mark.slow
def test_the_parts_are_the_whole_model(executorch_artifact: Converted) -> None:
    ended = run("inspect", executorch_artifact[0], "--profile", "--threads", "1", "--json")
    assert (ended.status, ended.err) == (0, "")
    found = json.loads(ended.out)
    parts = found["profile"]["parts"]
    last_norm = 192  # of the class token, by the module that normalized all tokens before: its width, once
    assert sum(part["count"] * part["macs"] for part in parts) + last_norm == found["manifest"]["graph"]["macs"]
    assert [part["kind"] for part in parts if part["name"].startswith("network.0.")] == [
        "norm",
        "outlook attention",
        "norm",
        "MLP",
    ]
    assert {part["name"]: part["count"] for part in parts}["post_network.*.attn"] == 2
    assert all(part["milliseconds"] > 0 for part in parts) and found["profile"]["milliseconds"] > 0
    ended = run("inspect", executorch_artifact[0], "--profile", "--threads", "1")
    assert (ended.status, ended.err) == (0, "")
    assert "outlook attention" in ended.out and "each compiled alone" in ended.out


@pytest.mark.parametrize(("scheme", "rounds"), [("fp32", False), ("int8-dynamic", True), ("int8-static", True)])
def test_the_parts_are_quantized_as_the_scheme_says(scheme: str, rounds: bool) -> None:
    edge = edge_model(SMALL, TOKENS_LAST)
    examples = profile._examples(edge)
    programs = list(profile._programs(edge, examples, choose("executorch", None, scheme, None)))
    for example, program in zip(examples, programs, strict=True):
        operators = [str(node.target) for node in program.graph.nodes]
        assert any("dequantize" in name for name in operators) == (rounds and example.kind != "norm"), example.name
        assert program.module()(*example.inputs).shape == example.module(*example.inputs).shape
    assert torch.is_inference_mode_enabled() is False


@pytest.mark.slow
def test_refusals(executorch_artifact: Converted, coreml_artifact: Converted, tmp_path: Path) -> None:
    assert "give both" in refusal("inspect", executorch_artifact[0], "--threads", "2", cwd=tmp_path)
    assert "--threads 0: take at least 1" in refusal(
        "inspect", executorch_artifact[0], "--profile", "--threads", "0", cwd=tmp_path
    )
    assert "Xcode" in refusal("inspect", coreml_artifact[0], "--profile", cwd=tmp_path)
