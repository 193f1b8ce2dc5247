"""Writes a report's three files into one folder, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from volo_edge import files, outputs, plain
from volo_edge.report import html, markdown
from volo_edge.report.contents import FORMAT, HTML, JSON, KIND, MARKDOWN, Report


def write(report: Report, photographs: Path, output: Path, force: bool, inputs: outputs.Inputs = ()) -> None:
    """Write the folder `output`; `photographs` is where those that changed are found; see `outputs.new_folder`."""
    with outputs.new_folder(output, KIND, force, inputs) as folder:
        text = plain.as_json(FORMAT.as_json(report))
        files.write_text(folder.working / JSON, f"{text}\n")
        files.write_text(folder.working / MARKDOWN, markdown.render(report))
        files.write_text(folder.working / HTML, html.render(report, photographs))
