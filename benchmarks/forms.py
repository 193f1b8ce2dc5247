"""Counts what the forms of outlook attention and self attention cost in a Core ML package, and prints the table.

    python benchmarks/forms.py [volo_d1_224]

The model has the variant's widths and one block a stage. Every form is converted to half precision, and the saved file
is run in the evaluator against the float model: all compute the same. What is counted is in the saved file; which form
is fastest, a device says.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import Tensor

from tests.small import edge_model, exported, one_block_a_stage, pixels, reference_logits
from volo_edge.converters.coreml import run
from volo_edge.converters.coreml.lower import lower
from volo_edge.converters.coreml.program import read_program
from volo_edge.converters.program import RESHAPES, Program
from volo_edge.converters.targets import choose
from volo_edge.decompose import CHANNELS_FIRST, Layout
from volo_edge.decompose.channels_first import OutlookAttention
from volo_edge.decompose.windows import fold_convolution, unfold_convolution
from volo_edge.validate.metrics import relative_error
from volo_edge.variants import VARIANTS

COLUMNS = ("form", "operators", "transposes", "reshapes", "copied MB", "read and written MB", "warned", "error")


class Other(OutlookAttention):
    """Outlook attention whose values (B * heads, d, taps, windows) are mixed in another form."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W)."""
        batch, dim, _, _ = x.shape
        w, heads = self.window, self.heads
        windows = w.rows * w.columns
        values = unfold_convolution(self.v(x), self.one_hot, w)
        values = values.reshape(batch * heads, dim // heads, w.taps, windows)
        scores = self.attn(self._pooled(x)).reshape(batch * heads, w.taps, w.taps, windows)
        mixed = self.mix(scores, values).reshape(batch, dim * w.taps, w.rows, w.columns)
        return self.proj(fold_convolution(mixed, self.one_hot, w))

    def mix(self, scores: Tensor, values: Tensor) -> Tensor:
        """(B * heads, d, taps, windows) of scores (B * heads, taps out, taps in, windows)."""
        raise NotImplementedError


class Broadcast(Other):
    """One product of rank 5, and a sum."""

    def mix(self, scores: Tensor, values: Tensor) -> Tensor:
        """See `Other`."""
        return (scores.softmax(2)[:, None] * values[:, :, None]).sum(3)


class Matrices(Other):
    """A matrix product for each window and head, as in the paper's listing."""

    def mix(self, scores: Tensor, values: Tensor) -> Tensor:
        """See `Other`."""
        weights = scores.permute(0, 3, 1, 2).softmax(-1)
        return (weights @ values.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)


def over_rows(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """All heads at once, the softmax over the keys where the product leaves them: in the rows."""
    batch, dim, _, queries = query.shape
    q, k, v = (x.reshape(batch, heads, dim // heads, x.shape[3]) for x in (query, key, value))
    return (v @ (k.transpose(2, 3) @ q).softmax(2)).reshape(batch, dim, 1, queries)


def head_by_head(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """A head at a time, keys in the channels (Apple, "Deploying Transformers on the Apple Neural Engine", 2022)."""
    keys = key.transpose(1, 3).chunk(heads, 3)
    mixed = []
    for q, k, v in zip(query.chunk(heads, 1), keys, value.chunk(heads, 1), strict=True):
        weights = torch.einsum("bchq,bkhc->bkhq", q, k).softmax(1)
        mixed.append(torch.einsum("bkhq,bchk->bchq", weights, v))
    return torch.cat(mixed, 1)


FORMS: dict[str, Layout] = {
    "as shipped": CHANNELS_FIRST,
    "outlook: one product of rank 5": replace(CHANNELS_FIRST, outlook=Broadcast),
    "outlook: matrix products": replace(CHANNELS_FIRST, outlook=Matrices),
    "attention: softmax over rows": replace(CHANNELS_FIRST, attend=over_rows),
    "attention: a head at a time": replace(CHANNELS_FIRST, attend=head_by_head),
}


def row(name: str, form: str, layout: Layout) -> str:
    """What the form costs: a row of the table."""
    architecture = one_block_a_stage(VARIANTS[name].architecture)
    images = pixels(architecture, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "VOLO.mlpackage"
        lower(exported(edge_model(architecture, layout)), choose("coreml", None, "fp16", None), path)
        program = read_program(path)
        error = relative_error(run.load(path, "evaluator").run(images), reference_logits(architecture, images))
    return f"| {form} | {' | '.join(cells(program))} | {error:.0e} |"


def cells(program: Program) -> tuple[str, ...]:
    """Figures of a saved file."""
    operations = program.operations or ()
    copies = [operation for operation in operations if operation.copies]
    return (
        str(len(operations)),
        str(sum(operation.kind == "transpose" for operation in copies)),
        str(sum(operation.kind in RESHAPES for operation in copies)),
        f"{sum(operation.bytes for operation in copies) / 1e6:.1f}",
        f"{sum(operation.bytes for operation in operations) / 1e6:.1f}",
        str(sum(bool(operation.reasons) for operation in operations)),
    )


def main() -> None:
    """Measure every form and print the table."""
    name = sys.argv[1] if len(sys.argv) > 1 else "volo_d1_224"
    print(f"| {' | '.join(COLUMNS)} |\n|---{'|---:' * (len(COLUMNS) - 1)}|", flush=True)
    for form, layout in FORMS.items():
        print(row(name, form, layout), flush=True)


if __name__ == "__main__":
    main()
