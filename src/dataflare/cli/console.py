"""What the command line says: results on stdout, errors and warnings on stderr, colours only on terminals."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TextIO

from dataflare.language import language_of, translated, word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dataflare.errors import DataFlareError, Finding

RED, GREEN, YELLOW, BOLD, DIM = "31", "32", "33", "1", "2"
STYLE = re.compile("\x1b\\[[0-9;]*m")
FOLD_MIN = 20
"""A column is not folded to fewer cells."""

SEVERITIES = {"error": RED, "warning": YELLOW, "info": DIM}


def write(text: str = "") -> None:
    """Write a line to stdout."""
    sys.stdout.write(text + "\n")


def write_json(value: Mapping[str, Any] | Sequence[Any], *, stream: TextIO | None = None) -> None:
    """Write a value as one line of JSON, to stdout unless told otherwise."""
    out = stream or sys.stdout
    out.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    out.flush()


def say_error(error: DataFlareError, *, as_json: bool = False) -> None:
    """Tell on stderr what is wrong, where, and what to do; a workflow's findings all of them."""
    if as_json:
        for finding in getattr(error, "findings", []) or [error.as_finding()]:
            write_json(in_language(finding).as_json(), stream=sys.stderr)
        return
    sys.stderr.write(error_text(error) + "\n")


def say_patience(text: str) -> None:
    """Tell a person at the terminal why nothing happens."""
    sys.stderr.write(f"{painted(_word(text), DIM, sys.stderr)}\n")
    sys.stderr.flush()


def error_text(error: DataFlareError) -> str:
    """Return what is wrong, where, and what to do, as it is told on stderr; a workflow's findings all of them."""
    findings: list[Finding] = getattr(error, "findings", [])
    if findings:
        return findings_text(findings, sys.stderr)
    place = str(error.place)
    if error.place.file and error.place.path:
        place = f"{place} ({error.place.path})"
    told = in_language(error.as_finding())
    lines = [f"{painted(_word('error') + ':', RED, sys.stderr)} {told.message}"]
    lines += [f"  at {place}"] if place else []
    lines += [f"  {painted(_word('hint:'), DIM, sys.stderr)} {told.hint}"] if told.hint else []
    return "\n".join(lines)


def say_warning(finding: Finding, *, as_json: bool) -> None:
    """Tell on stderr what is not as it should be, while the command goes on."""
    finding = in_language(finding)
    if as_json:
        write_json(finding.as_json(), stream=sys.stderr)
        return
    where = f"\n  at {_where(finding)}" if _where(finding) else ""
    sys.stderr.write(f"{painted(_word('warning') + ':', YELLOW, sys.stderr)} {finding.message}{where}\n")


def findings_text(findings: Sequence[Finding], stream: TextIO) -> str:
    """Return findings in columns: severity, place, message; the cure under the message."""
    findings = [in_language(f) for f in findings]
    rows = [(_word(f.severity), _where(f), f.message) for f in findings]
    left = [max(width(row[i]) for row in rows) for i in (0, 1)]
    lines: list[str] = []
    for finding, (severity, place, message) in zip(findings, rows, strict=True):
        head = painted(filled(severity, left[0]), SEVERITIES.get(severity, ""), stream)
        middle = f"{filled(place, left[1])}  " if left[1] else ""
        indent = " " * (left[0] + 2 + width(middle))
        lines.append(f"{head}  {middle}{message.replace(chr(10), chr(10) + indent)}")
        if finding.hint:
            lines.append(f"{indent}{painted(_word('hint:'), DIM, stream)} {finding.hint}")
    return "\n".join(lines)


def in_language(finding: Finding) -> Finding:
    """Return the finding in the language that the environment asks for."""
    told = translated(finding, language_of(os.environ))
    return replace(told, message=printable(told.message), hint=printable(told.hint))


def printable(text: str) -> str:
    """Return a text without what moves the cursor of a terminal or turns its letters round; strangers may have said it.

    Ends of lines and tabs stay.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _word(text: str) -> str:
    return word(text, language_of(os.environ))


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = (), stream: TextIO | None = None
) -> str:
    """Return lines whose columns line up; on a terminal the last one is folded. `right`: columns set at the right."""
    body = [list(row) for row in rows]
    at_right = set(right)
    widths = [max(width(row[i]) for row in [head, *body]) for i in range(len(head))]
    room = shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * len(widths[:-1])
    if (stream or sys.stdout).isatty() and FOLD_MIN <= room < widths[-1]:
        widths[-1] = room
        body = [folded for row in body for folded in _folded(row, room)]

    def line(row: Sequence[str]) -> str:
        cells = [filled(cell, widths[i], right=i in at_right) for i, cell in enumerate(row)]
        return "  ".join(cells).rstrip()

    return "\n".join([painted(line(head), DIM, stream or sys.stdout), *(line(row) for row in body)])


def painted(text: str, style: str, stream: TextIO) -> str:
    """Return the text in a style where the stream shows it: a terminal, and no NO_COLOR in the environment."""
    if not style or not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{style}m{text}\x1b[0m"


def filled(text: str, cells: int, *, right: bool = False) -> str:
    """Return the text with spaces up to so many cells."""
    space = " " * (cells - width(text))
    return space + text if right else text + space


def width(text: str) -> int:
    """Return how many cells of a terminal the text takes; styles take none."""
    plain = STYLE.sub("", text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in plain)


def _folded(row: list[str], room: int) -> list[list[str]]:
    lines = textwrap.wrap(row[-1], room) or [""]
    return [[*(row[:-1] if i == 0 else [""] * (len(row) - 1)), line] for i, line in enumerate(lines)]


def _where(finding: Finding) -> str:
    place = finding.place
    return str(place) if place.file else place.path
