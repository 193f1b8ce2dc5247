"""The report as one HTML file that needs nothing else: style, pictures and photographs are in it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from importlib.resources import files as resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from volo_edge import plain
from volo_edge.preprocess import UnreadableImage, open_rgb
from volo_edge.report import plots
from volo_edge.report.contents import Answer, Changed, ChangedLabel, Report
from volo_edge.report.markdown import (
    DOUBTED,
    LABEL_COLUMNS,
    LABEL_HINT,
    PROCESSORS_HINT,
    SHOWN_LABELS,
    by_label,
    float_model,
    for_proof,
    judged,
    judged_columns,
    notes,
    processor_columns,
    processors,
)

SHOWN = 40  # photographs
_SIDE = 96  # pixels of one
CLASSES = 20


@dataclass
class Photograph:
    """A photograph whose class changed, and in which artifacts.

    Args:
        change: as the first of them has it.
        answers: number of the artifact, its name and its change.
        image: a JPEG as a data URI; "" where it is gone.
    """

    change: Changed
    answers: list[tuple[int, str, Changed]] = field(default_factory=list)
    image: str = ""


def render(report: Report, photographs: Path) -> str:
    """The page; `photographs` is the folder that the changed ones are in."""
    environment = Environment(
        autoescape=True, finalize=_shown, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(resources("volo_edge.report").joinpath("template.html").read_text("utf-8"))
    measured = [None if for_proof(one) else one.latency.median_ms for one in report.artifacts]
    changed = _photographs(report)
    return template.render(
        report=report,
        headline=headline(report),
        notes=notes(report),
        intervals=plots.intervals(report),
        by_size=plots.accuracy_against(report, "size", [one.bytes / 1e6 for one in report.artifacts], "MB"),
        by_latency=plots.accuracy_against(report, "latency on this machine", measured, "ms"),
        growth=plots.growth(report),
        grown=[(number, one.growth) for number, one in enumerate(report.artifacts) if one.growth],
        classes=_classes(report),
        class_count=CLASSES,
        changed_count=len(changed),
        changed=_with_images(changed[:SHOWN], photographs),
        for_proof=for_proof,
        answer=_answer,
        float_model=float_model(report.float_model),
        judged=judged,
        judged_columns=judged_columns(report),
        labels=[(number, rows) for number, one in enumerate(report.artifacts) if (rows := by_label(one))],
        label_columns=LABEL_COLUMNS,
        label_hint=LABEL_HINT,
        label_count=SHOWN_LABELS,
        changed_labels=_changed_labels(report, photographs),
        changed_labels_count=sum(len(one.labels.changed) for one in report.artifacts if one.labels),
        processor_columns=processor_columns(report)[1:],
        processor_hint=PROCESSORS_HINT,
        processors=_by_artifact(report),
        devices=[(one, result) for one in report.artifacts for result in one.devices],
    )


def _by_artifact(report: Report) -> list[tuple[int, list[tuple[str, ...]]]]:
    """Number of each artifact that other processors ran, and its rows of `processor_columns` without its name."""
    rows = processors(report)
    found = []
    for number, one in enumerate(report.artifacts):
        own = [cells for name, *cells in rows if name == one.name]
        if own:
            found.append((number, [tuple(cells) for cells in own]))
    return found


def _shown(value: object) -> object:
    """What a place in the template holds; names as `plain.line` has them, pictures and what is marked up as it is."""
    return plain.line(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def headline(report: Report) -> str:
    """The whole report in a sentence."""
    count = len(report.artifacts)
    if report.float_model.doubt:
        return f"{DOUBTED} what is said of {count} artifact(s) against them means nothing."
    known = [one for one in report.artifacts if one.judged is not None]
    if not known:
        if report.activation == "sigmoid":
            return f"{count} artifact(s): no label is known, so no accuracy; agreement with the float model is below."
        return f"{count} artifact(s): no class is known, so no accuracy; agreement with the float model is below."
    if report.max_drop is not None:
        passed = sum(one.passed is True for one in known)
        ruled_out = f"a loss of more than {_points(report.max_drop)} of {report.figure} is ruled out"
        return f"{passed} of {count} artifact(s) pass: {ruled_out}."
    real = [one for one in known if one.judged is not None and one.judged.low > 0]
    if not real:
        return f"{count} artifact(s), and none loses so much {report.figure} that it could not be chance."
    worst = max(real, key=lambda one: one.judged.drop if one.judged else 0)
    drop = worst.judged.drop if worst.judged else 0
    most = f"most loses {worst.name}, {drop:.2f} points"
    return f"{len(real)} of {count} artifact(s) lose more {report.figure} than chance; {most}."


def _points(count: float) -> str:
    return f"{count:g} point{'' if count == 1 else 's'}"


def _answer(answer: Answer) -> str:
    if answer.label is None or answer.probability is None:
        return "no number"
    return f"{answer.label} {100 * answer.probability:.0f} %"


def _classes(report: Report) -> list[tuple[str, int, float, list[float]]]:
    """Label, photographs, the float model's accuracy, and the drop in each artifact: the worst classes first."""
    drops = [{one.label: one for one in artifact.by_class} for artifact in report.artifacts]
    rows = [
        (first.label, first.photographs, first.float_model, [by_label[first.label].drop for by_label in drops])
        for first in report.artifacts[0].by_class
    ]
    return sorted(rows, key=lambda row: -max(row[3]))[:CLASSES]


def _photographs(report: Report) -> list[Photograph]:
    """Those that changed in any artifact: those that most have wrong now first, then the surest float answers."""
    found: dict[str, Photograph] = {}
    for number, one in enumerate(report.artifacts):
        for change in one.changed:
            found.setdefault(change.photograph, Photograph(change)).answers.append((number, one.name, change))
    return sorted(
        found.values(),
        key=lambda photograph: (
            -sum(change.effect == "worse" for _, _, change in photograph.answers),
            -len(photograph.answers),
            -(photograph.change.float_model.probability or 0),
            photograph.change.photograph,
        ),
    )


@dataclass
class ChangedPhotograph:
    """A photograph of which labels changed, and in which artifacts: number, name and change; its image as above."""

    name: str
    changes: list[tuple[int, str, ChangedLabel]] = field(default_factory=list)
    image: str = ""


def _changed_labels(report: Report, folder: Path) -> list[ChangedPhotograph]:
    """The first `SHOWN`: those with most labels for the worse first, then with most changed."""
    found: dict[str, ChangedPhotograph] = {}
    for number, one in enumerate(report.artifacts):
        for change in one.labels.changed if one.labels else ():
            place = found.setdefault(change.photograph, ChangedPhotograph(change.photograph))
            place.changes.append((number, one.name, change))
    shown = sorted(
        found.values(),
        key=lambda one: (-sum(change.effect == "worse" for *_, change in one.changes), -len(one.changes), one.name),
    )[:SHOWN]
    for photograph in shown:
        photograph.image = _thumbnail(folder / photograph.name)
    return shown


def _with_images(chosen: list[Photograph], folder: Path) -> list[Photograph]:
    for photograph in chosen:
        photograph.image = _thumbnail(folder / photograph.change.photograph)
    return chosen


def _thumbnail(path: Path) -> str:
    """A JPEG of the photograph as a data URI; "" where it is gone."""
    try:
        image = open_rgb(path)
    except UnreadableImage:
        return ""
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
