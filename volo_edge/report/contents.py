"""What an accuracy report says: `report.json`, field for field.

The JSON Schema in `docs/report.schema.json` is made from it. Accuracies, drops and shares are in points, 0..100; a drop
is what the file loses against the float model, negative where it gains. What each figure means is told in
`docs/accuracy.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from volo_edge.activation import Activation
from volo_edge.device_results import DeviceResults
from volo_edge.formats import Format
from volo_edge.machine import Machine
from volo_edge.outputs import Kind
from volo_edge.reference.file import Record

FORMAT_VERSION: Literal[3] = 3
JSON, MARKDOWN, HTML = "report.json", "report.md", "report.html"
KIND = Kind("report", JSON, ("format_version", "float_model", "artifacts"), lambda _: (MARKDOWN, HTML))


@dataclass(frozen=True)
class Unreadable:
    """A file among the photographs that cannot be read as one, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class ClassFolder:
    """A class folder of the data, or a class of photographs that were given theirs one by one.

    Args:
        folder: its name; null for such a class.
        label: the model's class that it stands for; of independent labels, those that its photographs have.
        photographs: how many of it were judged.
    """

    folder: str | None
    label: str
    photographs: int


@dataclass(frozen=True)
class Data:
    """The photographs.

    Args:
        folder: as it was given.
        photographs: how many were judged.
        available: how many the folder holds.
        list_sha256: of the names and contents of those chosen (`calibration.images.list_hash`).
        classes: of those judged; () where none is known, and then no accuracy is either.
        unreadable: what was left out.
        skipped: names of the other files of the folder: beside class folders, or of formats that are not read.
        problems: what speaks against the data, a sentence each.
    """

    folder: str
    photographs: int
    available: int
    list_sha256: str
    classes: tuple[ClassFolder, ...]
    unreadable: tuple[Unreadable, ...]
    skipped: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class FloatModel:
    """The float model's own figures.

    Args:
        record: how its answers were made.
        file: the reference file that they were read from; null where they were computed for this report.
        top1, top5: points; null without classes.
        calibration_error: points, see `Outcome`.
        known_top1, known_from: points that it should reach, and who says so: "--expected-top1", or the variant that
            they were published of; null where nothing is known.
        label_accuracy, mean_average_precision: of independent labels, points, see `MultiLabel`; null elsewhere.
        doubt: why its answers cannot be right, in a sentence; null where nothing speaks against them.
    """

    record: Record
    file: str | None
    top1: float | None
    top5: float | None
    calibration_error: float | None
    label_accuracy: float | None = None
    mean_average_precision: float | None = None
    known_top1: float | None = None
    known_from: str | None = None
    doubt: str | None = None

    @property
    def judged(self) -> float | None:
        """What `Outcome.judged` compares with: top-1, or label accuracy."""
        return self.top1 if self.label_accuracy is None else self.label_accuracy


@dataclass(frozen=True)
class Comparison:
    """The file against the float model, photograph by photograph.

    Args:
        float_model: points that the float model has right.
        file: points that the file has right.
        drop: points lost.
        low, high: ends of the drop's 95 % interval.
        better, worse: photographs that only the file, and that only the float model has right.
        p_value: McNemar's exact test: how likely so uneven a split of those is if neither is better.
        resolution: points; the smallest drop that so many photographs can tell from none.
    """

    float_model: float
    file: float
    drop: float
    low: float
    high: float
    better: int
    worse: int
    p_value: float
    resolution: float


@dataclass(frozen=True)
class ClassDrop:
    """One class: its photographs, points that each has right of them, and the points lost."""

    label: str
    photographs: int
    float_model: float
    file: float
    drop: float


@dataclass(frozen=True)
class LabelFigures:
    """What one model makes of one independent label, in points.

    Args:
        precision: of the photographs that it says it of, those that have it; null where it says it of none.
        recall: of the photographs that have it, those that it says it of; null where none has it.
        f1: their harmonic mean; null where it is neither said nor true of any.
        average_precision: over all thresholds, see docs/accuracy.md; null where no photograph has it.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None


@dataclass(frozen=True)
class LabelDrop:
    """One independent label: how many photographs have it, and what each makes of it."""

    label: str
    photographs: int
    float_model: LabelFigures
    file: LabelFigures


@dataclass(frozen=True)
class ChangedLabel:
    """A label of a photograph that only one of the file and the float model says.

    Args:
        photograph: its name in the folder.
        label: the label.
        truth: whether the photograph has it; null where that is not known.
        float_model, file: the probability, 0..1, that each gives it.
        effect: "better" or "worse"; "other" where the truth is not known.
    """

    photograph: str
    label: str
    truth: bool | None
    float_model: float
    file: float
    effect: Literal["better", "worse", "other"]


@dataclass(frozen=True)
class MultiLabel:
    """An artifact whose labels are independent, each said from the report's `threshold` of its probability on.

    Args:
        accuracy: label accuracy, which the gate judges: of the labels of a photograph that are said or true, the share
            that are both, the mean over photographs; better and worse are photographs of which the share rose and fell.
            null where no truth is known, as the next two.
        exact: photographs with all labels right.
        mean_average_precision: points, over the labels that a photograph has.
        by_label: every one, in the model's order; () without truth.
        changed: labels that only one of them says, the worst first.
    """

    accuracy: Comparison | None
    exact: Comparison | None
    mean_average_precision: float | None
    by_label: tuple[LabelDrop, ...]
    changed: tuple[ChangedLabel, ...]


@dataclass(frozen=True)
class Answer:
    """A class and the probability, 0..1, that a model gives it; null where its logits are no numbers."""

    label: str | None
    probability: float | None


@dataclass(frozen=True)
class Changed:
    """A photograph that the file puts in another class than the float model does.

    Args:
        photograph: its name in the folder.
        truth: its class; null where it is not known.
        float_model, file: both answers.
        effect: "better" or "worse" where one of them is right; "other" where neither is, or the class is not known.
    """

    photograph: str
    truth: str | None
    float_model: Answer
    file: Answer
    effect: Literal["better", "worse", "other"]


@dataclass(frozen=True)
class BlockError:
    """A block's part in the error.

    Args:
        block: its name, as in the checkpoint.
        snr_db: signal to noise ratio of what it makes, with all that went wrong before it; null without noise,
            -1000 where it makes something that is no number.
        own_snr_db: the same of the block alone, given what the float model gives it; null without noise, or for the
            logits.
    """

    block: str
    snr_db: float | None
    own_snr_db: float | None


@dataclass(frozen=True)
class ErrorGrowth:
    """Where it goes wrong: the edge model with the file's own weights and rounding against the float edge model.

    Args:
        photographs: how many it was measured on.
        blocks: in the order they run.
        worst: the block with the lowest SNR of its own; null where all are above 80 dB, which changes no class.
    """

    photographs: int
    blocks: tuple[BlockError, ...]
    worst: str | None


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one photograph in the file's runtime on this machine, over some runs, preparation left out."""

    runs: int
    median_ms: float
    p90_ms: float


@dataclass(frozen=True)
class OnProcessor:
    """The file on another processor than this machine's: what that one's own rounding does to the answers.

    Args:
        processor: whose code ran, "arm64 armv8.2-dotprod".
        runtime: what ran it.
        instructions: those for products of numbers that were seen to run: they tell which kernels did.
        photographs: how many of the data it was judged on, as many of each class.
        top1: against the float model on those; null without classes.
        agreement: points of them that it and the float model put in the same class, or give the same labels.
        here_agreement: points of them that it and the file on this machine put in the same class, or give the same
            labels.
        here_error: of its logits from those on this machine, |there - here| / |here| in the 2-norm over all; null where
            one is no number.
        not_finite: photographs for which it gives a logit that is no number.
        label_accuracy: of independent labels, in place of `top1`, see `MultiLabel`; null elsewhere.
    """

    processor: str
    runtime: str
    instructions: tuple[str, ...]
    photographs: int
    top1: Comparison | None
    agreement: float
    here_agreement: float
    here_error: float | None
    not_finite: int
    label_accuracy: Comparison | None = None

    @property
    def judged(self) -> Comparison | None:
        """What the gate looks at."""
        return self.top1 if self.label_accuracy is None else self.label_accuracy


@dataclass(frozen=True)
class Outcome:
    """One artifact.

    Args:
        name: of its folder.
        target, backend, scheme: what it is.
        runtime, processor: what ran its file, and whose code that was.
        model_sha256, bytes: of its model file.
        delegate_calls, undelegated: of an ExecuTorch program, see the manifest; null elsewhere.
        verdict: in a sentence.
        passed: the gate, on every processor; null where none was set.
        top1, top5: null without classes, and where labels are independent.
        agreement: points of photographs that both put in the same class, or give the same labels.
        kl_divergence: nats, of the file's probabilities from the float model's, the mean over photographs; of
            independent labels the sum of theirs.
        snr_db: of the logits; null without noise.
        not_finite: photographs for which the file gives a logit that is no number.
        calibration_error: points between how sure it is and how often it is right (15 bins), of independent labels over
            the probabilities of all; null without classes.
        by_class: in the order of the labels, those with a photograph; () where labels are independent.
        changed: photographs whose class changed, the worst first; () where labels are independent.
        growth: null where it was not measured, `growth_note` says why.
        latency: on this machine.
        devices: what apps measured of it.
        processors: other processors that ran its file.
        labels: the figures of independent labels; null where classes exclude each other.
    """

    name: str
    target: str
    backend: str
    scheme: str
    runtime: str
    processor: str
    model_sha256: str
    bytes: int
    delegate_calls: int | None
    undelegated: int | None
    verdict: str
    passed: bool | None
    top1: Comparison | None
    top5: Comparison | None
    agreement: float
    kl_divergence: float | None
    snr_db: float | None
    not_finite: int
    calibration_error: float | None
    by_class: tuple[ClassDrop, ...]
    changed: tuple[Changed, ...]
    growth: ErrorGrowth | None
    growth_note: str
    latency: Latency
    devices: tuple[DeviceResults, ...]
    processors: tuple[OnProcessor, ...]
    labels: MultiLabel | None = None

    @property
    def judged(self) -> Comparison | None:
        """What the gate looks at: top-1, or label accuracy; None where no truth is known."""
        return self.top1 if self.labels is None else self.labels.accuracy


@dataclass(frozen=True)
class Report:
    """An accuracy report.

    Args:
        format_version: 3.
        made_at: UTC, ISO 8601.
        command: that made it.
        model: name of the variant.
        max_drop: the gate's, in points of top-1 or of label accuracy; null where none was set.
        data: the photographs.
        float_model: what everything is held against.
        artifacts: in the order they were given.
        machine: that ran the files.
        versions: of what made it.
        activation: of the model, see the manifest.
        threshold: the probability, 0..1, from which on an independent label is said; null where classes exclude each
            other.
    """

    format_version: Literal[3]
    made_at: str
    command: str
    model: str
    max_drop: float | None
    data: Data
    float_model: FloatModel
    artifacts: tuple[Outcome, ...]
    machine: Machine
    versions: dict[str, str]
    activation: Activation = "softmax"
    threshold: float | None = None

    @property
    def figure(self) -> str:
        """What `Outcome.judged` is called."""
        return FIGURES[self.activation]


FIGURES = {"softmax": "top-1", "sigmoid": "label accuracy"}
FORMAT = Format(Report, FORMAT_VERSION, "accuracy report", "make it again with 'volo-edge evaluate'")


if __name__ == "__main__":
    import json

    print(json.dumps(FORMAT.schema(), indent=2))
