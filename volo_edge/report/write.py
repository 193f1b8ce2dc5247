"""Writes a report's three files into one folder, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from volo_edge import files, plain
from volo_edge.report import html, markdown
from volo_edge.report.contents import FORMAT, HTML, JSON, MARKDOWN, Report


def write(report: Report, photographs: Path, output: Path, force: bool) -> None:
    """Write the folder `output`; `photographs` is where those that changed are found."""
    with files.new_folder(output, JSON, force) as folder:
        text = plain.as_json(FORMAT.as_json(report))
        files.write_text(folder.working / JSON, f"{text}\n")
        files.write_text(folder.working / MARKDOWN, markdown.render(report))
        files.write_text(folder.working / HTML, html.render(report, photographs))
