"""The report for a pull request: what was found, in a table, and what speaks against it."""

from __future__ import annotations

from volo_edge.report.contents import Outcome, Report

_COLUMNS = ("", "artifact", "MB", "top-1 %", "drop", "95 % interval", "p", "agrees %", "SNR dB", "worst block", "ms")


def render(report: Report) -> str:
    """GitHub's Markdown."""
    data, model = report.data, report.float_model
    top1 = "" if model.top1 is None else f", of which the float model puts {model.top1:.2f} % in the right class"
    lines = [
        f"## Accuracy of {report.model} on {data.photographs:,} photographs",
        "",
        *([f"**{DOUBTED}** {model.doubt}.", ""] if model.doubt else []),
        *(f"- {mark(one)} **{one.name}** {one.verdict}" for one in report.artifacts),
        "",
        f"{data.photographs:,} photographs of `{data.folder}`{top1}. Float reference: {model.record.device_name}.",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        f"|---|---|{'---:|' * (len(_COLUMNS) - 2)}",
        *(f"| {' | '.join(_cells(one))} |" for one in report.artifacts),
        "",
        "Drop in points of top-1, its interval from a paired bootstrap; p of McNemar's test; ms of one photograph",
        "on this machine, in brackets where it is the evaluator of Core ML packages, whose time is no phone's.",
        "",
        *_on_processors(report),
        *(f"> {sentence}" for sentence in notes(report)),
    ]
    return "\n".join(lines).rstrip() + "\n"


DOUBTED = "The float model's answers cannot be right:"


def _on_processors(report: Report) -> list[str]:
    """The table of other processors; nothing where none ran a file."""
    rows = processors(report)
    if not rows:
        return []
    return [
        "### The same files on ARM64 code",
        "",
        f"| {' | '.join(PROCESSORS)} |",
        f"|---|---|---|{'---:|' * (len(PROCESSORS) - 3)}",
        *(f"| `{name}` | {' | '.join(cells)} |" for name, *cells in rows),
        "",
        PROCESSORS_HINT,
        "",
    ]


PROCESSORS = (
    "artifact",
    "processor",
    "products by",
    "photographs",
    "top-1 %",
    "drop",
    "95 % interval",
    "agrees with float %",
    "agrees with here %",
    "differs from here",
)
PROCESSORS_HINT = (
    "Every processor rounds in its own order. The last two columns are what that does to the answers: photographs that "
    "the file puts in the same class there and on this machine (here), and the relative error of its logits there."
)


def processors(report: Report) -> list[tuple[str, ...]]:
    """A row of `PROCESSORS` for each artifact and each processor besides this machine's that ran its file."""
    return [
        (
            one.name,
            there.processor,
            ", ".join(there.instructions),
            f"{there.photographs:,}",
            "" if there.top1 is None else f"{there.top1.file:.2f}",
            "" if there.top1 is None else f"{there.top1.drop:+.2f}",
            "" if there.top1 is None else f"{there.top1.low:+.2f} to {there.top1.high:+.2f}",
            f"{there.agreement:.2f}",
            f"{there.here_agreement:.2f}",
            "no number" if there.here_error is None else f"{there.here_error:.1e}",
        )
        for one in report.artifacts
        for there in one.processors
    ]


def mark(one: Outcome) -> str:
    """Whether it passed the gate, at a glance."""
    return {True: "✅", False: "❌", None: "•"}[one.passed]


def evaluated(one: Outcome) -> bool:
    """Whether it was run in the evaluator of Core ML packages, whose time says nothing of a phone's."""
    return "evaluator" in one.runtime


def notes(report: Report) -> list[str]:
    """What to know before believing the figures, a sentence each, but for `float_model.doubt`."""
    data = report.data
    found = list(data.problems)
    if data.unreadable:
        names = ", ".join(f"{one.file} ({one.reason})" for one in data.unreadable[:5])
        more = f" and {len(data.unreadable) - 5} more" if len(data.unreadable) > 5 else ""
        found.append(f"{len(data.unreadable)} file(s) could not be read and are left out: {names}{more}")
    if data.photographs + len(data.unreadable) < data.available:
        each = ", as many of each class" if any(one.folder is not None for one in data.classes) else ""
        found.append(f"{data.photographs:,} of the folder's {data.available:,} photographs were judged{each}")
    widest = max((one.top1.resolution for one in report.artifacts if one.top1), default=None)
    if widest is not None:
        found.append(f"a drop of less than {widest:.2f} points cannot be told from none on so many photographs")
    for one in report.artifacts:
        if one.not_finite:
            found.append(f"{one.name}: its file gives logits that are no numbers for {one.not_finite} photograph(s)")
        for there in one.processors:
            if there.not_finite:
                found.append(
                    f"{one.name} on {there.processor}: logits that are no numbers for {there.not_finite} photograph(s)"
                )
    return found


def _cells(one: Outcome) -> tuple[str, ...]:
    top1 = one.top1
    return (
        mark(one),
        f"`{one.name}`",
        f"{one.bytes / 1e6:.2f}",
        "" if top1 is None else f"{top1.file:.2f}",
        "" if top1 is None else f"{top1.drop:+.2f}",
        "" if top1 is None else f"{top1.low:+.2f} to {top1.high:+.2f}",
        "" if top1 is None else f"{top1.p_value:.2g}",
        f"{one.agreement:.2f}",
        "∞" if one.snr_db is None else f"{one.snr_db:.1f}",
        f"`{one.growth.worst}`" if one.growth and one.growth.worst else "",
        f"({one.latency.median_ms:.0f})" if evaluated(one) else f"{one.latency.median_ms:.1f}",
    )
