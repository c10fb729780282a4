"""A report as one HTML file that needs nothing else: no scripts, no fonts, no network."""

import base64
import html
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from alignet.runtime.files import atomic_folder, atomic_path
from evals.pages import figures, table
from evals.statistics.intervals import Measured


class Table(NamedTuple):
    """Rows as for `table.table`, with a caption."""

    rows: Sequence[Mapping[str, Any]]
    caption: str
    columns: Sequence[str] | None = None


class Picture(NamedTuple):
    """A figure, or the SVG of one, and a caption: what is to be seen, and what was found."""

    figure: Figure | str
    caption: str


class Section(NamedTuple):
    """A heading and what stands under it; a plain string is a paragraph."""

    heading: str
    blocks: Sequence[str | Table | Picture]


def sentences(section: Section) -> list[str]:
    """What a section says in words."""
    return [block for block in section.blocks if isinstance(block, str)]


def write_page(path: str | Path, title: str, sections: Sequence[Section]) -> None:
    """Writes a report, atomically. All text is escaped.

    Args:
      path: the `.html` file.
      title: of the page.
      sections: in order; one with an empty heading has none and is not in the contents.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(page(title, sections), encoding="utf-8")


def write_figures(folder: str | Path, sections: Sequence[Section]) -> None:
    """Writes the figures of a report as files for print.

    Args:
      folder: for `figure_03.pdf` and `figure_03.png` (300 dpi), Figure 3 of the page; what it
        held before is gone, and there is none if there are no figures.
      sections: of the page, whose figures are not yet drawn.
    """
    blocks = (block for section in sections for block in section.blocks)
    drawn = [block.figure for block in blocks if isinstance(block, Picture)]
    if not drawn:
        shutil.rmtree(folder, ignore_errors=True)
        return
    with atomic_folder(folder) as temporary:
        for number, figure in enumerate(drawn, start=1):
            for kind in ("pdf", "png"):
                figures.save(figure, temporary / f"figure_{number:02}.{kind}")


def page(title: str, sections: Sequence[Section]) -> str:
    """The report as HTML; see `write_page`."""
    numbers = {Table: 0, Picture: 0}
    parts = []
    for index, section in enumerate(sections):
        parts.append(f'<section id="s{index}">')
        if section.heading:
            parts.append(f"<h2>{_text(section.heading)}</h2>")
        for block in section.blocks:
            if isinstance(block, str):
                parts.append(f"<p>{_text(block)}</p>")
                continue
            numbers[type(block)] += 1
            render = _table if isinstance(block, Table) else _picture
            parts.append(render(block, numbers[type(block)]))
        parts.append("</section>")
    links = [
        f'<li><a href="#s{index}">{_text(section.heading)}</a></li>'
        for index, section in enumerate(sections)
        if section.heading
    ]
    contents = f"<nav><ul>{''.join(links)}</ul></nav>" if len(links) > 2 else ""
    return TEMPLATE.format(
        title=_text(title), style=STYLE, contents=contents, body="\n".join(parts)
    )


def _text(text: str) -> str:
    """Escaped; a percent sign stays with its number."""
    return html.escape(text).replace(" %", "\u00a0%")


def _table(block: Table, number: int) -> str:
    columns = block.columns or table.column_names(block.rows)
    kinds = ["number" if table.is_numeric(block.rows, column) else "text" for column in columns]
    head = "".join(
        f'<th scope="col" class="{kind}">{_text(str(column))}</th>'
        for column, kind in zip(columns, kinds, strict=True)
    )
    texts = [table.cells(block.rows, column) for column in columns]
    body = "\n".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}">{_cell(row.get(column), text)}</td>'
            for column, kind, text in zip(columns, kinds, of_row, strict=True)
        )
        + "</tr>"
        for row, of_row in zip(block.rows, zip(*texts, strict=True), strict=True)
    )
    return (
        f'<div class="table"><table><caption><b>Table {number}.</b> {_text(block.caption)}'
        f"</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(value: Any, text: str) -> str:
    text = _text(text)
    if isinstance(value, Measured) and "[" in text:
        point, interval = text.split(" ", 1)
        return f'{point} <span class="interval">{interval}</span>'
    return text


def _picture(block: Picture, number: int) -> str:
    # As images, not inline elements: the ids inside two SVGs cannot then collide.
    svg = block.figure if isinstance(block.figure, str) else figures.svg(block.figure)
    data = base64.b64encode(svg.encode()).decode()
    caption = _text(block.caption)
    return (
        f'<figure><div class="picture"><img alt="{caption}" src="data:image/svg+xml;base64,{data}">'
        f"</div><figcaption><b>Figure {number}.</b> {caption}</figcaption></figure>"
    )


TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{contents}
{body}
</main>
</body>
</html>
"""

# Figures keep a white ground in the dark: their ink is black. On a narrow screen they, and tables,
# are moved sideways instead of made too small to read.
STYLE = """
:root { --ink: #1b1b1b; --soft: #5c5c5c; --ground: #fff; --line: #c9c9c9; --link: #00568a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --soft: #a8a8a8; --ground: #16181b; --line: #45494f; --link: #7cc4f2; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 17px/1.55 Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, serif; }
main { max-width: 46rem; margin: 0 auto; padding: 2.5rem 1.25rem 5rem; }
h1, h2, table, figcaption, nav { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 1rem; text-wrap: balance; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 3rem 0 .75rem; }
p { margin: 0 0 1rem; }
a { color: var(--link); }
nav { font-size: .85rem; border-block: 1px solid var(--line); margin: 1.5rem 0; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; list-style: none; padding: .5rem 0;
  margin: 0; }
nav a { text-decoration: none; }
.table { overflow-x: auto; margin: 1.5rem 0; container-type: inline-size; }
table { border-collapse: collapse; width: 100%; font-size: .82rem; line-height: 1.35;
  font-variant-numeric: tabular-nums lining-nums; }
caption, figcaption { color: var(--soft); font-size: .82rem; line-height: 1.45; text-align: left; }
caption { padding-bottom: .5rem; max-width: 100cqi; break-after: avoid; }
caption b, figcaption b { color: var(--ink); }
thead th { border-bottom: 1.5px solid var(--ink); vertical-align: bottom; }
td { vertical-align: top; }
tbody tr + tr td { border-top: 1px solid var(--line); }
tbody { border-bottom: 1.5px solid var(--ink); }
th, td { padding: .35rem .6rem; }
th:first-child, td:first-child { padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
.text { text-align: left; }
/* Names wrap, but not at every hyphen. */
td.text:first-child { min-width: 6.5rem; }
p, h1, h2, caption, figcaption, td.text { overflow-wrap: anywhere; }
td.text { min-width: 5em; }
.number { text-align: right; }
td.number { white-space: nowrap; }
.interval { color: var(--soft); font-size: .9em; }
figure { margin: 2rem 0; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto .6rem; background: #fff;
  border-radius: 4px; }
@media (prefers-color-scheme: dark) { figure img { padding: .5rem; } }
@media screen and (max-width: 40rem) {
  .picture { overflow-x: auto; }
  figure img { max-width: none; }
}
@media print {
  :root { --ink: #000; --soft: #444; --ground: #fff; --line: #bbb; --link: #000; }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  .table { overflow: visible; break-inside: avoid; }
  thead { display: table-header-group; }
}
"""
