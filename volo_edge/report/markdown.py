"""The report for a pull request: what was found, in a table, and what speaks against it."""

from __future__ import annotations

from volo_edge.converters.runner import is_for_proof
from volo_edge.plain import code
from volo_edge.plain import markdown as text
from volo_edge.report.contents import Comparison, FloatModel, LabelDrop, Outcome, Report

SHOWN_LABELS = 20


def render(report: Report) -> str:
    """GitHub's Markdown."""
    data, model = report.data, report.float_model
    knows = float_model(model)
    columns = ("", "artifact", "MB", *judged_columns(report), "agrees %", "SNR dB", "worst block", "ms")
    lines = [
        f"## Accuracy of {text(report.model)} on {data.photographs:,} photographs",
        "",
        *([f"**{DOUBTED}** {text(model.doubt)}.", ""] if model.doubt else []),
        *(f"- {mark(one)} **{text(one.name)}** {text(one.verdict)}" for one in report.artifacts),
        "",
        f"{data.photographs:,} photographs of {code(data.folder)}{knows}. Float reference: "
        f"{text(model.record.device_name)}.",
        "",
        f"| {' | '.join(columns)} |",
        f"|---|---|{'---:|' * (len(columns) - 2)}",
        *(f"| {' | '.join(_cells(report, one))} |" for one in report.artifacts),
        "",
        f"Drop in points of {report.figure}, its interval from a paired bootstrap; p of McNemar's test; ms of one",
        "photograph on this machine, in brackets where what ran it proves files only (the evaluator of Core ML",
        "packages, Core AI's runtime for Linux) and its time is no phone's.",
        "",
        *_by_label(report),
        *_on_processors(report),
        *(f"> {text(sentence)}" for sentence in notes(report)),
    ]
    return "\n".join(lines).rstrip() + "\n"


DOUBTED = "The float model's answers cannot be right:"


def float_model(model: FloatModel) -> str:
    """What the float model knows of the photographs, after their number; "" where that is not known."""
    if model.top1 is not None:
        return f", of which the float model puts {model.top1:.2f} % in the right class"
    if model.label_accuracy is None:
        return ""
    average = model.mean_average_precision
    also = "" if average is None else f" and a mean average precision of {average:.2f} %"
    return f", on which the float model has a label accuracy of {model.label_accuracy:.2f} %{also}"


def judged_columns(report: Report) -> tuple[str, ...]:
    """What `judged` has of an artifact."""
    more = ("all right %", "mAP %") if report.activation == "sigmoid" else ()
    return f"{report.figure} %", *more, "drop", "95 % interval", "p"


def judged(report: Report, one: Outcome) -> tuple[str, ...]:
    """What the gate looks at, and figures of its kind; "" each where no truth is known."""
    found = one.judged
    if found is None:
        return ("",) * len(judged_columns(report))
    more: tuple[str, ...] = ()
    if one.labels is not None:
        average, exact = one.labels.mean_average_precision, one.labels.exact
        more = ("" if exact is None else f"{exact.file:.2f}", "" if average is None else f"{average:.2f}")
    return f"{found.file:.2f}", *more, *_drop(found), f"{found.p_value:.2g}"


def _drop(found: Comparison | None) -> tuple[str, str]:
    """The drop and its interval."""
    return ("", "") if found is None else (f"{found.drop:+.2f}", f"{found.low:+.2f} to {found.high:+.2f}")


LABEL_COLUMNS = ("label", "photographs", "precision %", "recall %", "F1 %", "average precision %")
LABEL_HINT = "The float model's figure, and the file's after it; the labels whose F1 falls most come first."


def by_label(one: Outcome) -> list[tuple[str, ...]]:
    """Rows of `LABEL_COLUMNS`: the labels whose F1 falls most first, then the model's order."""
    if one.labels is None:
        return []

    def fall(row: LabelDrop) -> float:
        return (row.float_model.f1 or 0) - (row.file.f1 or 0)

    return [
        (
            row.label,
            f"{row.photographs:,}",
            *(
                f"{_share(getattr(row.float_model, name))} → {_share(getattr(row.file, name))}"
                for name in ("precision", "recall", "f1", "average_precision")
            ),
        )
        for row in sorted(one.labels.by_label, key=lambda row: -fall(row))
    ]


def _share(points: float | None) -> str:
    return "-" if points is None else f"{points:.1f}"


def _by_label(report: Report) -> list[str]:
    """A table of labels for each artifact that has independent ones."""
    lines = []
    for one in report.artifacts:
        rows = by_label(one)
        if not rows:
            continue
        more = f" The {SHOWN_LABELS} first of {len(rows)}." if len(rows) > SHOWN_LABELS else ""
        lines += [
            f"### Labels of {text(one.name)}, each said from a probability of {report.threshold:g} on",
            "",
            f"| {' | '.join(LABEL_COLUMNS)} |",
            f"|---|{'---:|' * (len(LABEL_COLUMNS) - 1)}",
            *(f"| {' | '.join(map(text, row))} |" for row in rows[:SHOWN_LABELS]),
            "",
            LABEL_HINT + more,
            "",
        ]
    return lines


def _on_processors(report: Report) -> list[str]:
    """The table of other processors; nothing where none ran a file."""
    rows = processors(report)
    if not rows:
        return []
    return [
        "### The same files on ARM64 code",
        "",
        f"| {' | '.join(processor_columns(report))} |",
        f"|---|---|---|{'---:|' * (len(processor_columns(report)) - 3)}",
        *(f"| {code(name)} | {' | '.join(map(text, cells))} |" for name, *cells in rows),
        "",
        PROCESSORS_HINT,
        "",
    ]


PROCESSORS_HINT = (
    "Every processor rounds in its own order. The last two columns are what that does to the answers: photographs of "
    "which the file says the same there and on this machine (here), and the relative error of its logits there."
)


def processor_columns(report: Report) -> tuple[str, ...]:
    """What `processors` has in a row."""
    return (
        "artifact",
        "processor",
        "products by",
        "photographs",
        f"{report.figure} %",
        "drop",
        "95 % interval",
        "agrees with float %",
        "agrees with here %",
        "differs from here",
    )


def processors(report: Report) -> list[tuple[str, ...]]:
    """A row of `processor_columns` for each artifact and each processor besides this machine's that ran its file."""
    return [
        (
            one.name,
            there.processor,
            ", ".join(there.instructions),
            f"{there.photographs:,}",
            "" if there.judged is None else f"{there.judged.file:.2f}",
            *_drop(there.judged),
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


def for_proof(one: Outcome) -> bool:
    """Whether it was run in what only proves files, whose time says nothing of a phone's."""
    return is_for_proof(one.runtime)


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
    widest = max((one.judged.resolution for one in report.artifacts if one.judged), default=None)
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


def _cells(report: Report, one: Outcome) -> tuple[str, ...]:
    return (
        mark(one),
        code(one.name),
        f"{one.bytes / 1e6:.2f}",
        *judged(report, one),
        f"{one.agreement:.2f}",
        "∞" if one.snr_db is None else f"{one.snr_db:.1f}",
        code(one.growth.worst) if one.growth and one.growth.worst else "",
        f"({one.latency.median_ms:.0f})" if for_proof(one) else f"{one.latency.median_ms:.1f}",
    )
