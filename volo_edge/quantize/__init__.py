"""Quantization: the schemes a model can be converted with. Importing it imports no torch."""

from volo_edge.quantize.schemes import SCHEMES, Scheme

__all__ = ["SCHEMES", "Scheme"]
