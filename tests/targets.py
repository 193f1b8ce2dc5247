"""Targets whose packages are not made for every Python and machine."""

from __future__ import annotations

import pytest

from volo_edge.converters.targets import TARGETS
from volo_edge.errors import RequestError


def why_not(name: str) -> str:
    """Why the packages of the target called `name` are not there; "" where they are."""
    try:
        TARGETS[name].require()
    except RequestError as error:
        return str(error)
    return ""


def needs(name: str) -> pytest.MarkDecorator:
    """Skips a test where the packages of the target called `name` are not there."""
    return pytest.mark.skipif(bool(why_not(name)), reason=why_not(name) or "not skipped")
