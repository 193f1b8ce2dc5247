"""Runs a saved .mlpackage without a Mac: its ML program, operator by operator, in torch.

coremltools converts on any machine and runs on macOS only. This reads the package from disk (`package`), knows what
each operator means (`operators`), and computes its outputs, so that what a file says is known wherever it was made. It
shares no code with a conversion, and what it computes is the program as saved, not the one in memory.

It is no model of Apple's hardware: the Neural Engine accumulates in its own order and width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volo_edge.converters.coreml.evaluator.operators import MOVES, OPERATORS, TORCH_TYPES
from volo_edge.converters.coreml.evaluator.package import Constant, Operator, Package, Value, read_package
from volo_edge.errors import RequestError

__all__ = ["ARITHMETICS", "Evaluator", "Package", "Unsupported", "Value", "decoded", "load", "read_package"]

ARITHMETICS = {
    "float32": "every real number is in single precision, whatever the program says",
    "typed": "what the program types fp16 is rounded to it after every operator; within one, single precision",
}
# What looks on: given an operator and what it made, before that is rounded to a type.
See = Callable[[Operator, tuple[Any, ...]], None]
# Parameters that are lists of tensors.
_LISTS = frozenset({"values"})
# Types of values that are no tensors: a classifier's answers.
_PLAIN = frozenset({"string", "int64", "dictionaryType"})
# Integers of these types are axes, sizes and switches where they are scalars or vectors; the others are data.
_SETTINGS = frozenset({"bool", "int32", "int64", "uint32"})


class Unsupported(RequestError):
    """A sound program with an operator or a type that is not evaluated."""


def load(path: str | Path, arithmetic: str = "typed") -> Evaluator:
    """The .mlpackage folder at `path`, ready to run; RequestError where it is damaged, Unsupported where it is not."""
    if arithmetic not in ARITHMETICS:
        raise RequestError(f"no arithmetic is called '{arithmetic}': choose one of {', '.join(ARITHMETICS)}")
    package = read_package(path)
    try:
        return Evaluator(package, arithmetic)
    except RequestError as error:
        raise type(error)(f"{path}: {error}") from error


@dataclass(frozen=True)
class _Step:
    """An operator, ready to run.

    Args:
        operator: what was read.
        constants: its arguments that do not change.
        variables: parameter and name of those that do.
        lists: parameter and names of its lists, constants among them.
        rounds: its fp16 outputs are rounded.
        frees: values that nothing needs after it.
    """

    operator: Operator
    constants: dict[str, Any]
    variables: tuple[tuple[str, str], ...]
    lists: tuple[tuple[str, tuple[str, ...]], ...]
    rounds: bool
    frees: tuple[str, ...]

    def run(self, values: dict[str, Any], see: See | None = None) -> None:
        """Put the outputs among `values`, and show them to `see`.

        RequestError where it fails, or makes another shape than the program says.
        """
        operator = self.operator
        arguments = self.constants.copy()
        for parameter, name in self.variables:
            arguments[parameter] = values[name]
        for parameter, names in self.lists:
            arguments[parameter] = [values[name] for name in names]
        try:
            made = OPERATORS[operator.kind](**arguments)
        except Exception as error:  # torch raises several kinds
            detail = " ".join((str(error) or type(error).__name__).split())[:160]
            raise RequestError(f"operator {operator.kind} '{operator.outputs[0].name}' fails: {detail}") from error
        several = made if isinstance(made, tuple) else (made,)
        if len(several) != len(operator.outputs):
            raise RequestError(f"operator {operator.kind} makes {len(several)} values, not {len(operator.outputs)}")
        for output, value in zip(operator.outputs, several, strict=True):
            if not isinstance(value, Tensor) and output.dtype in _PLAIN:
                values[output.name] = value
                continue
            _check_shape(value.shape, output, f"operator {operator.kind}")
            dtype = TORCH_TYPES[output.dtype]
            if value.dtype is not dtype:
                value = value.to(dtype)
            if self.rounds and output.dtype == "fp16":
                value = value.half().float()
            values[output.name] = value
        if see is not None:
            see(operator, several)
        for name in self.frees:
            values.pop(name, None)


class Evaluator:
    """A saved program, ready to run.

    Args:
        package: what was read.
        arithmetic: a key of ARITHMETICS.
    """

    def __init__(self, package: Package, arithmetic: str) -> None:
        self.arithmetic = arithmetic
        self.inputs = package.inputs
        self.outputs = package.outputs
        self._constants: dict[str, Any] = {
            name: decoded(value, package.types[name]) for name, value in package.constants.items()
        }
        self._steps = self._prepare(package)

    def _prepare(self, package: Package) -> list[_Step]:
        """The operators that must run each time, each freeing what no later one needs."""
        _refuse_unknown(package)
        changing = self._without_constant_operators(package)
        needed = {output.name for output in package.outputs}
        steps = []
        for operator in reversed(changing):
            touched = {name for names in operator.arguments.values() for name in names}
            touched |= {output.name for output in operator.outputs}
            touched -= self._constants.keys()
            steps.append(self._step(operator, tuple(touched - needed)))
            needed |= touched
        steps.reverse()
        # a step holds its own constants, all but those in lists
        kept = {name for step in steps for _, names in step.lists for name in names}
        kept |= {output.name for output in package.outputs}
        self._constants = {name: value for name, value in self._constants.items() if name in kept}
        return steps

    def _without_constant_operators(self, package: Package) -> list[Operator]:
        """The operators that read an input, however indirectly; the others run now and become constants."""
        known = {given.name for given in package.inputs}
        changing = []
        for operator in package.operators:
            used = {name for names in operator.arguments.values() for name in names}
            unbound = sorted(used - known - self._constants.keys())
            if unbound:
                raise RequestError(f"operator {operator.kind} reads '{unbound[0]}' before anything made it")
            if used.isdisjoint(known):
                with torch.inference_mode():
                    self._step(operator, ()).run(self._constants)
            else:
                known |= {output.name for output in operator.outputs}
                changing.append(operator)
        return changing

    def _step(self, operator: Operator, frees: tuple[str, ...]) -> _Step:
        single = {
            parameter: names[0]
            for parameter, names in operator.arguments.items()
            if parameter not in _LISTS and len(names) == 1
        }
        return _Step(
            operator=operator,
            constants={key: self._constants[name] for key, name in single.items() if name in self._constants},
            variables=tuple((key, name) for key, name in single.items() if name not in self._constants),
            lists=tuple((key, names) for key, names in operator.arguments.items() if key not in single and names),
            rounds=self.arithmetic == "typed" and operator.kind not in MOVES,
            frees=frees,
        )

    def __call__(self, see: See | None = None, /, **inputs: NDArray[Any]) -> dict[str, Any]:
        """The outputs by name, real numbers as float32 whatever the program types them.

        A classifier's class is a string or an integer, and its probabilities are a dictionary by class.

        An image input takes its levels 0..255, (1, C, H, W) in the program's own order of colours. RequestError where
        an input is missing, unknown or of another shape, or where an operator fails.

        Args:
            see: called after every operator with it and with what it made, for those who look into a network.
            inputs: by name.
        """
        expected = [given.name for given in self.inputs]
        if set(inputs) != set(expected):
            raise RequestError(f"the program takes {', '.join(expected)}; given were {', '.join(inputs) or 'none'}")
        values = dict(self._constants)
        with torch.inference_mode():
            for given in self.inputs:
                _check_shape(np.shape(inputs[given.name]), given, "input")
                values[given.name] = self._as_input(inputs[given.name], given)
            for step in self._steps:
                step.run(values, see)
        answers = {output.name: values[output.name] for output in self.outputs}
        return {name: np.array(value) if isinstance(value, Tensor) else value for name, value in answers.items()}

    def _as_input(self, array: NDArray[Any], given: Value) -> Tensor:
        value = torch.from_numpy(np.array(array)).to(TORCH_TYPES[given.dtype])
        return value.half().float() if self.arithmetic == "typed" and given.dtype == "fp16" else value


def _refuse_unknown(package: Package) -> None:
    """Unsupported for the first operator or type that is not evaluated."""
    for operator in package.operators:
        if operator.kind not in OPERATORS:
            raise Unsupported(f"operator '{operator.kind}' is not one that is evaluated")
    for value in (*package.inputs, *(output for operator in package.operators for output in operator.outputs)):
        if value.dtype not in TORCH_TYPES and value.dtype not in _PLAIN:
            raise Unsupported(f"'{value.name}' is of type {value.dtype}, which is not evaluated")


def _check_shape(shape: tuple[int, ...], value: Value, what: str) -> None:
    expected = value.shape
    if shape != expected and (
        len(shape) != len(expected)
        or any(size not in (None, given) for size, given in zip(expected, shape, strict=True))
    ):
        sizes = ", ".join("?" if size is None else str(size) for size in expected)
        raise RequestError(f"{what} '{value.name}' is of shape {tuple(shape)}, and the program says ({sizes})")


def decoded(value: Constant, dtype: str) -> Any:
    """A constant as the operators take it."""
    if isinstance(value, (str, list)):
        return value
    if value.ndim == 0 or (value.ndim == 1 and dtype in _SETTINGS):
        return value.tolist()
    return torch.from_numpy(value.astype(np.int64) if dtype in ("uint16", "uint32") else value).to(TORCH_TYPES[dtype])
