"""A program's MLIR module, which coreai-core 1.0.0b3 has behind private names: all that reaches for them.

What lies in resources, the larger constants, MLIR's bindings do not give; its printer does.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from volo_edge import files
from volo_edge.converters import process
from volo_edge.errors import RequestError

PROGRAM, HASH = "main.mlirb", "main.hash"  # of an asset
_ALIGNMENT = 16  # bytes, of coreai-core's own resources


def module(program: Any) -> Any:
    """The MLIR module of a `coreai.authoring.AIProgram`."""
    return program._module._mlir_module


def read(path: Path) -> Any:
    """The MLIR module of the asset at `path`, which must be sound: one that is not takes the process down."""
    from coreai.authoring import AIModelAsset

    return module(AIModelAsset.load(path).program)


def minimum_system(path: Path) -> str:
    """The first iOS and macOS that the asset at `path` says it is for, "27.0"."""
    from coreai.authoring import AIModelAsset

    return str(AIModelAsset.load(path).summary(include_statistics=False)._compatibility_version)


def require_whole(path: Path) -> None:
    """RequestError where the asset at `path` is none, or its program is not the one that it has the hash of.

    coreai-core writes that hash, and looks at it no more.
    """
    program, digest = path / PROGRAM, path / HASH
    if not program.is_file() or not digest.is_file():
        raise RequestError(f"{path} is no Core AI asset, or not all of one: copy or convert the model again")
    if digest.read_bytes().hex() != files.sha256(program):
        raise RequestError(f"{program} is damaged: copy or convert the model again")


def require_sound(path: Path) -> None:
    """As `require_whole`; and where the asset at `path` takes down what reads it, which another process tries."""
    require_whole(path)
    for _ in process.lines(process.python(__name__, str(path)), path):
        pass


def resources(module: Any) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each constant of a module that lies apart from it, one at a time."""
    with tempfile.TemporaryFile() as file:
        module.operation.print(file=file, binary=True)
        file.seek(0)
        apart = False
        for line in file:
            apart = apart or line.startswith(b"{-#")
            name, _, value = line.strip().partition(b': "0x')
            if apart and value:  # four bytes of alignment, then what it holds
                yield name.decode(), bytes.fromhex(value[8 : value.rindex(b'"')].decode())


def resource(constant: Any) -> str | None:
    """The name of what a constant operator refers to; None where it holds its value itself."""
    text = str(constant.attributes["value"])
    return text.partition("<")[2].partition(">")[0] if text.startswith("dense_resource<") else None


def name_by_place(module: Any) -> None:
    """Rename a module's functions, but "main", and its resources by their place in it, in place.

    coreai-core draws both names at random: the same program is to have the same bytes.
    """
    from coreai._compiler.ir import Attribute, DenseResourceElementsAttr, StringAttr

    users: dict[str, list[Any]] = {}
    graphs = [graph.operation for graph in module.body.operations]
    functions = {one.attributes["sym_name"].value: f"function_{number}" for number, one in enumerate(graphs)}
    functions["main"] = "main"
    for graph in graphs:
        graph.attributes["sym_name"] = StringAttr.get(functions[graph.attributes["sym_name"].value], module.context)
        for operator in (one.operation for one in graph.regions[0].blocks[0].operations):
            if operator.name == "coreai.invoke":
                callee = str(operator.attributes["callee"])  # "#param.constant<@NAME> : !param.symbol"
                name = callee.partition("@")[2].partition(">")[0]
                renamed = callee.replace(f"@{name}>", f"@{functions[name]}>")
                operator.attributes["callee"] = Attribute.parse(renamed, module.context)
            elif operator.name == "coreai.constant" and (apart := resource(operator)):
                users.setdefault(apart, []).append(operator)
    numbers = {name: number for number, name in enumerate(users)}
    for name, data in resources(module):
        for user in users[name]:
            user.attributes["value"] = DenseResourceElementsAttr.get_from_buffer(
                data, f"constant_{numbers[name]}", user.results[0].type, _ALIGNMENT, context=module.context
            )


if __name__ == "__main__":
    read(Path(sys.argv[1]))
