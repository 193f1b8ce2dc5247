"""Image folders -> calibration batches, and the demo checkpoint and photographs that ship with the tool."""

from __future__ import annotations

from pathlib import Path

_DEMO = Path(__file__).resolve().parent / "volo_cifar10"

DEMO_WEIGHTS = _DEMO / "volo_cifar10.safetensors"
DEMO_CALIBRATION = _DEMO / "calibration"  # 200 photographs, 20 a class, of the training split
DEMO_VALIDATION = _DEMO / "validation"  # 500 photographs, 50 a class, of the test split
