"""The report's three files: the published schema, what they say, and that the page is whole in a real browser."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import jsonschema
import numpy as np
import pytest
from PIL import Image

from tests.small import SMALL
from tests.test_device_results import RESULTS
from volo_edge import device_results
from volo_edge.errors import RequestError
from volo_edge.evaluate.verdict import passes, verdict
from volo_edge.machine import Machine
from volo_edge.preprocess import Preprocessing
from volo_edge.reference.file import Record
from volo_edge.report import html, markdown, plots
from volo_edge.report.contents import (
    FORMAT,
    Answer,
    BlockError,
    Changed,
    ChangedLabel,
    ClassDrop,
    ClassFolder,
    Comparison,
    Data,
    ErrorGrowth,
    FloatModel,
    LabelDrop,
    LabelFigures,
    Latency,
    MultiLabel,
    OnProcessor,
    Outcome,
    Report,
    Unreadable,
)
from volo_edge.report.write import write

SCHEMA = Path(__file__).parents[1] / "docs" / "report.schema.json"
LABELS = ("cat", "<b>dog</b>")
BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


def outcome(name: str, drop: float, passed: bool | None = None, **changes: object) -> Outcome:
    top1 = Comparison(80, 80 - drop, drop, drop - 0.5, drop + 0.5, 1, 2, 0.5, 0.4)
    blocks = (
        BlockError("patch_embed", 50.0, 50.0),
        BlockError("network.0.0", 12.5, 13.0),
        BlockError("head", None, None),
        BlockError("logits", 11.0, None),
    )
    made = Outcome(
        name=name,
        target="executorch",
        backend="xnnpack",
        scheme="int8-dynamic",
        runtime="ExecuTorch 1.5.1, XNNPACK",
        processor="x86-64",
        model_sha256="0" * 64,
        bytes=3_200_000,
        delegate_calls=1,
        undelegated=0,
        verdict="loses something.",
        passed=passed,
        top1=top1,
        top5=top1,
        agreement=99.5,
        kl_divergence=1e-4,
        snr_db=44.0,
        not_finite=0,
        calibration_error=3.0,
        by_class=tuple(ClassDrop(label, 10, 80, 80 - drop, drop) for label in LABELS),
        changed=(Changed("cat/0.png", "cat", Answer("cat", 0.6), Answer(LABELS[1], 0.5), "worse"),),
        growth=ErrorGrowth(32, blocks, "network.0.0"),
        growth_note="",
        latency=Latency(50, 3.5, 4.0),
        devices=(),
        processors=(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def report(*artifacts: Outcome, max_drop: float | None = None, unreadable: tuple[Unreadable, ...] = ()) -> Report:
    record = Record(
        format_version=2,
        made_at="2026-01-31T12:00:00Z",
        model="volo_small",
        weights="small.safetensors",
        weights_sha256="1" * 64,
        entry="",
        prefix="",
        architecture=replace(SMALL, num_classes=2),
        preprocessing=Preprocessing.from_crop((8, 8), 1.0),
        device="cpu",
        device_name="a processor",
        arithmetic="float32",
        list_sha256="2" * 64,
        classes=LABELS,
        versions={"torch": "2.13.0"},
    )
    folders = tuple(ClassFolder(label, label, 10) for label in LABELS)
    return Report(
        format_version=3,
        made_at="2026-01-31T12:00:00Z",
        command="volo-edge evaluate a b",
        model="volo_small",
        max_drop=max_drop,
        data=Data("photos", 20, 30, "2" * 64, folders, unreadable, (), ("something speaks against it",)),
        float_model=FloatModel(record, None, 80, 99, 2.0, None, None, None),
        artifacts=artifacts,
        machine=Machine("Linux", "a processor", 2),
        versions={"python": "3.11"},
    )


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "cat").mkdir(parents=True)
    Image.fromarray(np.full((200, 300, 3), 90, np.uint8)).save(folder / "cat" / "0.png")
    return folder


class _Page(HTMLParser):
    """Looks for what a page must not have: tags left open, and anything from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)
        self.outside += [v for k, v in attrs if k in ("src", "href") and v and not v.startswith("data:image/jpeg")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def text_of(page: str) -> str:
    parser = _Page()
    parser.feed(page)
    assert parser.open == [] and parser.outside == []
    assert "http" not in page and "<script" not in page
    return " ".join(" ".join(parser.texts).split())


def test_the_published_schema_is_the_reports() -> None:
    assert json.loads(SCHEMA.read_text()) == FORMAT.schema(), "run 'make schema'"


def test_what_is_written_is_read_and_fits_the_schema(tmp_path: Path, photographs: Path) -> None:
    made = report(outcome("one", 0.1, True), outcome("two", 3, False), max_drop=1)
    write(made, photographs, tmp_path / "out", force=False)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "report.json", "report.md"]
    jsonschema.validate(json.loads((tmp_path / "out" / "report.json").read_text()), FORMAT.schema())
    assert FORMAT.read(tmp_path / "out" / "report.json") == made
    with pytest.raises(RequestError, match="exists already"):
        write(made, photographs, tmp_path / "out", force=False)


def test_the_page_is_whole_and_says_everything(photographs: Path) -> None:
    devices = (device_results.FORMAT.parse(json.dumps(RESULTS), Path("results.json")),)
    artifacts = (
        outcome("one", 0.1, True),
        outcome("two", 3.0, False, devices=devices, growth=None, growth_note="no weights"),
    )
    page = html.render(report(*artifacts, max_drop=1, unreadable=(Unreadable("bad.jpg", "empty file"),)), photographs)
    text = text_of(page)
    for said in (
        "1 of 2 artifact(s) pass",
        "something speaks against it",
        "bad.jpg (empty file)",
        "20 of the folder's 30 photographs were judged",
        "+3.00",
        "FAIL",
        "<b>dog</b> 50 %",  # escaped, so it is text
        "network.0.0",
        "no weights",
        "Example Phone 1",
        "nominal → fair",
        "volo-edge evaluate a b",
        "torch 2.13.0",
        "1" * 64,
    ):
        assert said in text, said
    assert page.count("data:image/jpeg;base64,") == 1
    assert "prefers-color-scheme: dark" in page and "@media print" in page


def test_a_report_without_classes_and_of_one_artifact(tmp_path: Path) -> None:
    alone = outcome("one", 0, None, top1=None, top5=None, calibration_error=None, by_class=(), changed=(), snr_db=None)
    made = report(alone)
    made = replace(made, float_model=replace(made.float_model, top1=None, top5=None, calibration_error=None))
    text = text_of(html.render(made, tmp_path))
    assert "no class is known" in text and "None: every file says the float model's class" in text
    assert "top-1" not in markdown.render(made).partition("|")[0]


def of_labels(drop: float, count: int = 2) -> MultiLabel:
    accuracy = Comparison(70, 70 - drop, drop, drop - 0.5, drop + 0.5, 1, 2, 0.5, 0.4)
    rows = tuple(
        LabelDrop(f"{LABELS[1]} | {index}", 10, LabelFigures(90, 80, 85, 88), LabelFigures(None, 0, 85 - index, 71.25))
        for index in range(count)
    )
    changed = (
        ChangedLabel("cat/0.png", LABELS[1], True, 0.61, 0.43, "worse"),
        ChangedLabel("cat/0.png", "cat", None, 0.4, 0.52, "other"),
    )
    return MultiLabel(accuracy, replace(accuracy, file=33.25), 87.5, rows, changed)


def report_of_labels(*artifacts: Outcome, max_drop: float | None = None) -> Report:
    plain = report(*artifacts, max_drop=max_drop)
    model = replace(plain.float_model, top1=None, top5=None, label_accuracy=70.0, mean_average_precision=91.0)
    return replace(plain, activation="sigmoid", threshold=0.25, float_model=model)


INDEPENDENT = {"top1": None, "top5": None, "by_class": (), "changed": ()}


def test_independent_labels_have_figures_of_their_own(tmp_path: Path, photographs: Path) -> None:
    made = report_of_labels(
        outcome("one", 0.1, True, **INDEPENDENT, labels=of_labels(0.1)),
        outcome("two", 3, False, **INDEPENDENT, labels=of_labels(3, count=25)),
        max_drop=1,
    )
    write(made, photographs, tmp_path / "out", force=False)
    assert FORMAT.read(tmp_path / "out" / "report.json") == made
    jsonschema.validate(json.loads((tmp_path / "out" / "report.json").read_text()), FORMAT.schema())
    page, text = text_of((tmp_path / "out" / "report.html").read_text()), markdown.render(made)
    for said in (
        "label accuracy %",
        "mAP %",
        "87.50",
        "33.25",
        "+3.00",
        "90.0 → -",
        "88.0 → 71.2",
        "has a label accuracy of",
    ):
        assert said in page and said in text, said
    for said in (
        "a loss of more than 1 point of label accuracy is ruled out",
        "<b>dog</b> 61 → 43 %, has it",
        "cat 40 → 52 %",
        "from a probability of 0.25 on",
        "The 20 first of 25",
        "4 label(s) that only one of a file and the float model says",
    ):
        assert said in page, said
    assert "top-1" not in page and "top-5" not in page and "class changed" not in page and "top-1" not in text
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {14, 7}
    first = next(line for line in text.partition("Labels of two")[2].splitlines() if "dog" in line)
    assert first.startswith(r"| \<b\>dog\</b\> \| 24 |")  # whose F1 falls most
    for picture in (plots.intervals(made), plots.accuracy_against(made, "size", [1.0, 2.0], "MB")):
        assert "label accuracy" in picture and "top-1" not in picture


def test_independent_labels_without_truth(tmp_path: Path) -> None:
    labels = MultiLabel(None, None, None, (), ())
    made = report_of_labels(outcome("one", 0, None, **INDEPENDENT, labels=labels, calibration_error=None))
    made = replace(made, float_model=replace(made.float_model, label_accuracy=None, mean_average_precision=None))
    page = text_of(html.render(made, tmp_path))
    assert "no label is known" in page and "None: every file says the float model's labels" in page
    assert "Labels of" not in page and "top-1" not in page + markdown.render(made)


def test_the_gate_is_held_against_label_accuracy_on_every_processor() -> None:
    here = Comparison(80, 80, 0, -0.1, 0.1, 0, 0, 1, 0.1)
    there = replace(ON_ARM64, top1=None, label_accuracy=ON_ARM64.top1)  # -0.3 to 0.7 on 500 photographs
    assert passes(here, (there,), 500, 0.7) and not passes(here, (there,), 500, 0.5)
    lost = replace(there, label_accuracy=Comparison(80, 20, 60, 55, 65, 0, 300, 0, 0.4))
    assert "it loses 60.00 points of label accuracy" in verdict(here, 99, (lost,), 5000, 0.5, "sigmoid")


ON_ARM64 = OnProcessor(
    processor="arm64 armv8.2-dotprod",
    runtime="ExecuTorch 1.5.1, XNNPACK",
    instructions=("fmla", "sdot"),
    photographs=500,
    top1=Comparison(80, 79.8, 0.2, -0.3, 0.7, 1, 2, 0.5, 0.4),
    agreement=99.4,
    here_agreement=99.6,
    here_error=2.1e-3,
    not_finite=0,
)


def test_other_processors_stand_beside_this_one(tmp_path: Path) -> None:
    spoilt = replace(ON_ARM64, processor="arm64 armv8.0", here_error=None, not_finite=7)
    made = report(outcome("one", 0.1, processors=(ON_ARM64, spoilt)), outcome("two", 0.2))
    page, text = text_of(html.render(made, tmp_path)), markdown.render(made)
    table = text.partition("ARM64 code")[2]
    cells = "| fmla, sdot | 500 | 79.80 | +0.20 | -0.30 to +0.70 | 99.40 | 99.60 | 2.1e-03 |"
    assert f"`one` | arm64 armv8.2-dotprod {cells}" in table and "`two`" not in table and "no number" in table
    for said in ("fmla, sdot", "2.1e-03", "one on arm64 armv8.0: logits that are no numbers for 7 photograph(s)"):
        assert said in page and said in text
    assert "ARM64 code" not in markdown.render(report(outcome("two", 0.2)))


def test_the_gate_is_held_against_every_processor() -> None:
    """One that saw all photographs is held to what this machine is; one that saw fewer, to what it can show."""
    here, there = Comparison(80, 80, 0, -0.1, 0.1, 0, 0, 1, 0.1), ON_ARM64  # -0.3 to 0.7 on 500 photographs
    assert passes(here, (there,), 500, 0.7) and not passes(here, (there,), 500, 0.5)
    assert passes(here, (there,), 5000, 0.5) and not passes(here, (there,), 5000, -0.4)
    broken = replace(there, top1=Comparison(80, 20, 60, 55, 65, 0, 300, 0, 0.4))
    assert not passes(here, (there, broken), 5000, 0.5)
    said = verdict(here, 99, (there,), 5000, 0.5)
    assert "Passes" in said and "on ARM64, 500 photographs rule out a drop of more than 0.70." in said
    said = verdict(here, 99, (there, broken), 5000, 0.5)
    assert "Fails on arm64 armv8.2-dotprod: there, on 500 photographs, it loses 60.00 points" in said


@pytest.mark.parametrize("count", [1, 2, 13])
def test_pictures_are_sound(count: int) -> None:
    made = report(*(outcome(f"artifact-{index} & co", 0.3 * index - 1) for index in range(count)), max_drop=0.5)
    sizes: list[float | None] = [one.bytes * (1 + index) for index, one in enumerate(made.artifacts)]
    pictures = [plots.intervals(made), plots.growth(made), plots.accuracy_against(made, "size", sizes, "MB")]
    assert bool(pictures.pop()) == (count > 1)
    for picture in pictures:
        root = xml.etree.ElementTree.fromstring(picture)
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        for element in root.iter():
            for key in ("x", "x1", "x2", "cx"):
                assert -1 <= float(element.get(key, 0)) <= width + 1, xml.etree.ElementTree.tostring(element)
            for key in ("y", "y1", "y2", "cy"):
                assert -1 <= float(element.get(key, 0)) <= height + 1, xml.etree.ElementTree.tostring(element)


def test_ticks_are_round() -> None:
    assert plots.Axis(-1.1, 2.2, 0, 1).ticks() == pytest.approx([-1, 0, 1, 2])
    assert plots.Axis(1.6, 12, 0, 1, log=True).ticks() == pytest.approx([2, 3, 5, 7, 10])


def test_markdown_is_a_table_and_sentences() -> None:
    text = markdown.render(report(outcome("one", 0.1, True), outcome("two", 3, False), max_drop=1))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4 and len({row.count("|") for row in rows}) == 1
    assert "- ✅ **one** loses something." in text and "- ❌ **two**" in text
    assert "> something speaks against it" in text


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: apt-get install chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_it(tmp_path: Path, photographs: Path, dark: bool) -> None:
    """Light or dark as the reader has it, and nothing wider than the window."""
    assert BROWSER is not None
    path, shot = tmp_path / "report.html", tmp_path / "shot.png"
    made = report(*(outcome(f"artifact-{index}", 0.2 * index, index < 3) for index in range(5)), max_drop=0.5)
    probe = (
        "<script>document.title = ['READY', document.documentElement.scrollWidth - innerWidth, "
        "document.querySelectorAll('svg circle').length, document.querySelector('.photo img').naturalWidth, "
        "getComputedStyle(document.body).backgroundColor].join(' ')</script></body>"
    )
    path.write_text(html.render(made, photographs).replace("</body>", probe))
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,1600"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    dom = subprocess.run([BROWSER, *options, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120)
    title = re.search("<title>READY (.*?)</title>", dom.stdout)
    assert title, dom.stderr[-500:]
    wider, circles, width, background = title[1].split(" ", 3)
    assert int(wider) <= 0 and int(circles) >= 15 and int(width) == 96
    assert background == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")
    subprocess.run([BROWSER, *options, f"--screenshot={shot}", path.as_uri()], capture_output=True, timeout=120)
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("L"))
    assert (pixels.mean() < 80) == dark
    assert pixels.std() > 10  # there is something on it


def test_the_headline_names_the_one_that_loses_most_of_those_that_lose_more_than_chance() -> None:
    chance, some, most = outcome("chance", 0.2), outcome("some", 2.0), outcome("most", 3.0)
    assert html.headline(report(chance)) == "1 artifact(s), and none loses so much top-1 that it could not be chance."
    said = html.headline(report(some, chance, most))
    assert said == "2 of 3 artifact(s) lose more top-1 than chance; most loses most, 3.00 points."


def test_the_worst_classes_come_first() -> None:
    drops = (ClassDrop("cat", 10, 80, 79, 1), ClassDrop("dog", 10, 80, 70, 10), ClassDrop("ship", 10, 80, 85, -5))
    assert [row[0] for row in html._classes(report(outcome("one", 1, by_class=drops)))] == ["dog", "cat", "ship"]


def test_photographs_that_most_have_wrong_come_first_and_then_the_surest() -> None:
    def changed(name: str, sure: float, effect: Literal["worse", "other"]) -> Changed:
        return Changed(name, "cat", Answer("cat", sure), Answer("dog", 0.5), effect)

    both, sure, unsure, other = (
        changed("both", 0.3, "worse"),
        changed("sure", 0.9, "worse"),
        changed("unsure", 0.4, "worse"),
        changed("other", 0.99, "other"),
    )
    found = html._photographs(
        report(outcome("a", 1, changed=(other, unsure, both, sure)), outcome("b", 1, changed=(both,)))
    )
    assert [photograph.change.photograph for photograph in found] == ["both", "sure", "unsure", "other"]


def test_a_page_has_photographs_as_small_as_it_shows_them(photographs: Path) -> None:
    page = html.render(report(outcome("one", 1)), photographs)
    found = re.findall(r'"data:image/jpeg;base64,([^"]+)"', page)
    assert [Image.open(io.BytesIO(base64.b64decode(one))).size for one in found] == [(96, 64)]


def test_the_headline_counts_those_that_pass() -> None:
    made = report(outcome("one", 0.1, True), outcome("two", 3, False), outcome("three", 0.1, None), max_drop=1)
    assert html.headline(made) == "1 of 3 artifact(s) pass: a loss of more than 1 point of top-1 is ruled out."


def test_files_that_cannot_be_read_are_not_photographs_that_were_left_out() -> None:
    def said(*unreadable: Unreadable) -> list[str]:
        return [note for note in markdown.notes(report(outcome("one", 1), unreadable=unreadable)) if "judged" in note]

    assert said() == ["20 of the folder's 30 photographs were judged, as many of each class"]
    assert said(*(Unreadable(f"{number}.png", "no image") for number in range(10))) == []


def test_labels_whose_f1_falls_most_come_first() -> None:
    def row(label: str, before: float, after: float) -> LabelDrop:
        return LabelDrop(label, 5, *(LabelFigures(50, 50, f1, 50) for f1 in (before, after)))

    labels = MultiLabel(None, None, None, (row("a", 80, 79), row("b", 80, 20), row("c", 10, 60)), ())
    assert [cells[0] for cells in markdown.by_label(outcome("one", 1, labels=labels))] == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("runtime", "shown"),
    [
        ("ExecuTorch 1.5.1, XNNPACK", "3.2"),
        ("Core ML, macOS 27.0", "3.2"),
        ("Core AI, macOS 27.0, coreai-core 1.0.0b3", "3.2"),
        ("volo-edge's evaluator (not Core ML itself), in the program's own types", "(3)"),
        ("Core AI, Apple's runtime for Linux, 1.0.0b3", "(3)"),
    ],
)
def test_a_time_that_says_nothing_of_a_phone_stands_in_brackets(runtime: str, shown: str) -> None:
    one = outcome("a", 0.1, runtime=runtime, latency=Latency(9, 3.2, 4.0))
    row = next(line for line in markdown.render(report(one)).splitlines() if line.startswith("| ") and "`a`" in line)
    assert f" {shown} |" in row
