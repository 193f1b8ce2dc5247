"""Files whose format is a frozen dataclass: written, read with errors of one line, and published as a JSON Schema."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args, get_type_hints

from volo_edge import inputs, plain
from volo_edge.errors import RequestError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

_CONFIG = {"extra": "forbid", "json_schema_serialization_defaults_required": True}


@dataclass(frozen=True)
class Format(Generic[T]):
    """A JSON file.

    Args:
        root: the dataclass that it holds, field for field.
        version: the `format_version` that is read.
        what: what such a file is called: "manifest".
        remedy: what to do about a bad one: "convert the model again".
        by_people: people write such files and may leave out what has a default; what we write has every field.
    """

    root: type[T]
    version: int
    what: str
    remedy: str
    by_people: bool = False

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        from pydantic import TypeAdapter

        for part in _dataclasses(self.root):
            part.__pydantic_config__ = _CONFIG  # type: ignore[attr-defined]
        return TypeAdapter(self.root)

    def as_json(self, value: T) -> dict[str, Any]:
        """`value` as JSON has it; a number that is not finite is null."""
        values: dict[str, Any] = json.loads(plain.as_json(self._adapter.dump_python(value, mode="json")))
        return values

    def schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of such a file."""
        schema = self._adapter.json_schema(mode="validation" if self.by_people else "serialization")
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}

    def read(self, path: Path) -> T:
        """What the file at `path` holds; RequestError where it is damaged, something else or of a later format."""
        try:
            text = inputs.read_bytes(path)
        except OSError as error:
            raise RequestError(f"{path} is damaged ({error}): {self.remedy}") from None
        except RequestError as error:
            raise RequestError(f"{self.what} {path}: {error}") from None
        return self.parse(text, path)

    def parse(self, text: bytes | str, path: Path) -> T:
        """What `text`, found at `path`, holds; RequestError as `read`."""
        from pydantic import ValidationError

        try:
            version = inputs.parse_json(text).get("format_version")
        except (ValueError, AttributeError) as error:
            raise RequestError(f"{path} is damaged ({error}): {self.remedy}") from None
        if isinstance(version, int) and version != self.version:
            remedy = "update it" if version > self.version else self.remedy
            raise RequestError(f"{path} is of format {version}, and this volo-edge reads {self.version}: {remedy}")
        try:
            return self._adapter.validate_json(text, strict=True)  # or "3" would be a number
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "it"
            raise RequestError(f"{path} is no {self.what}: {place}: {first['msg']}; {self.remedy}") from None
        except RequestError as error:  # of the preprocessing
            raise RequestError(f"{path} is no {self.what}: {error}; {self.remedy}") from None


def _dataclasses(root: Any) -> set[type]:
    """Those that a value of type `root` is made of."""
    if is_dataclass(root) and isinstance(root, type):
        hints = get_type_hints(root)
        return {root}.union(*(_dataclasses(hints[field.name]) for field in fields(root)))
    return set().union(*(_dataclasses(part) for part in get_args(root)))
