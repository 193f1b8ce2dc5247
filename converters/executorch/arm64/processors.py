"""ARM processors that qemu computes, one for each set of instructions that XNNPACK has kernels for: frozen data.

XNNPACK and KleidiAI choose a kernel by what the processor can do. So a file computes other sums, in another order, on a
phone of 2018 than on one of 2024, and a run on one of them says little of the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from volo_edge.errors import RequestError, did_you_mean


@dataclass(frozen=True)
class Processor:
    """A kind of processor.

    Args:
        name: what `--arm64-cpu` takes: the architecture, and the extension that matters.
        like: phones that have one.
        cpu: qemu's `-cpu`.
        product: the instruction that multiplies 8-bit integers there, a name of `instructions.PRODUCTS`.
        qemu: the first version known to compute it rightly.
    """

    name: str
    like: str
    cpu: str
    product: str
    qemu: str


PROCESSORS: dict[str, Processor] = {
    one.name: one
    for one in (
        Processor("armv8.0", "phones to 2018 (Cortex-A53)", "cortex-a53", "smlal", "7.2"),
        Processor("armv8.2-dotprod", "phones of 2019 and later (Cortex-A76)", "cortex-a76", "sdot", "7.2"),
        Processor("armv8.6-i8mm", "recent iPhones, ARMv9 phones", "max,sve=off,sme=off", "smmla", "7.2"),
        Processor("armv9-sme", "phones with the scalable matrix extension", "max", "smopa", "10.0"),
    )
}
USUAL = tuple(name for name in PROCESSORS if name != "armv9-sme")  # which any qemu that is current computes


def find(name: str) -> Processor:
    """The processor called `name`; RequestError where none is."""
    if name not in PROCESSORS:
        raise RequestError(f"no ARM64 processor is called '{name}': {did_you_mean(name, list(PROCESSORS))}")
    return PROCESSORS[name]
