"""Targets whose packages are not made for every Python and machine."""

from __future__ import annotations

import pytest

from volo_edge.converters.targets import TARGETS
from volo_edge.errors import RequestError


def _why_not(name: str) -> str:
    try:
        TARGETS[name].require()
    except RequestError as error:
        return str(error)
    return ""


def needs(name: str) -> pytest.MarkDecorator:
    """Skips a test where the packages of the target called `name` are not there."""
    return pytest.mark.skipif(bool(_why_not(name)), reason=_why_not(name) or "not skipped")
