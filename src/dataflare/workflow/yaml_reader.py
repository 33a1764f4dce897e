"""Reads YAML into values with positions, within bounds, and says everything that is wrong with the text.

It builds from the parser's events and not from its node tree: the tree is composed by recursion in C, which a deeply
nested text turns into a crash of the process, and it hides duplicate keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import yaml

from dataflare.errors import Place
from dataflare.workflow.document import DEPTH_MAX, NOWHERE, VALUES_MAX, Mark, Value
from dataflare.workflow.findings import Findings, near
from dataflare.workflow.scalars import AMBIGUOUS, meaning

if TYPE_CHECKING:
    from collections.abc import Callable

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_REPAIRS_MAX = 50
_REJOINED_MAX, _SHOWN_MAX = 1000, 100
"""A value that commas have cut is put together up to so many characters."""

_REFERENCE = re.compile(r"\$\{[^}\n\r\x85\u2028\u2029]*\}?")
_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_TEXT_TAGS = (None, "!", "tag:yaml.org,2002:str")
_SKIPPED = object()


def read_yaml(text: str, findings: Findings) -> Value | None:
    """Return the document, or None when nothing of it can be read.

    An unquoted `${...}` inside `{}` or `[]` is a syntax error to YAML; it is reported, masked in place (so that
    positions stay true) and reading goes on, so that the rest of the file is checked too.
    """
    for _ in range(_REPAIRS_MAX):
        builder = _Builder(findings.file, text)
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                builder.take(event)
        except _StopReadingError:
            findings.items += builder.findings
            return None
        except yaml.MarkedYAMLError as error:
            repaired = _repaired(text, error, findings)
            if repaired is None:
                findings.items += builder.findings
                _report(text, error, findings)
                return None
            text = repaired
        except (yaml.YAMLError, UnicodeError) as error:
            _report_unreadable(text, error, findings)
            return None
        else:
            findings.items += builder.findings
            return builder.root
    return None


def _repaired(text: str, error: yaml.MarkedYAMLError, findings: Findings) -> str | None:
    """Report an unquoted reference where the error is, and return the text with it masked, of the same length."""
    mark = error.problem_mark
    if mark is None:
        return None
    at = _offset(text, mark)
    for found in _REFERENCE.finditer(text):
        if found.start() <= at <= found.end():
            place = Place(findings.file, mark.line + 1, mark.column + 1 - (at - found.start()))
            hint = f'write "{found[0]}" in double quotes'
            findings.error("unquoted_reference", f"{found[0]} must be quoted here", place, hint)
            masked = re.sub(r"\W", "_", found[0])
            return text[: found.start()] + masked + text[found.end() :]
    return None


def _offset(text: str, mark: Any) -> int:
    """Return the index of a mark in a text."""
    return _Lines(text).offset(mark)


class _Lines:
    """Where the lines of a text begin; they end where YAML says, which is at some rarer characters too."""

    def __init__(self, text: str) -> None:
        self._length = len(text)
        self._starts = [0, *(m.end() for m in _BREAK.finditer(text))]

    def offset(self, mark: Any) -> int:
        """Return the index of a mark."""
        found: int = self._starts[min(mark.line, len(self._starts) - 1)] + mark.column
        return min(found, self._length)


def _report(text: str, error: yaml.MarkedYAMLError, findings: Findings) -> None:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    problem = str(error.problem or error.context or "not readable")
    hint = str(error.context or "")
    if mark and text[_offset(text, mark) :][:1] == "\t":
        hint = "YAML is indented by blanks, not by tabs"
    elif "mapping values" in problem:
        hint = "quote the text that holds ': ', or check the indentation"
    elif "flow" in hint:
        opened = error.context_mark if "node" not in hint else None
        since = f" that stands open since line {opened.line + 1}" if opened is not None else ""
        hint = f"close the bracket or brace{since}, or add a comma"
    findings.error("syntax", f"not valid YAML: {problem}", Place(findings.file, line, column), hint)


def _report_unreadable(text: str, error: Exception, findings: Findings) -> None:
    bad = re.search(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    at = bad.start() if bad else 0
    line, column = text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1
    what = f"the character U+{ord(bad[0]):04X} is not allowed" if bad else str(error).split("\n")[0]
    findings.error("syntax", f"not valid YAML: {what}", Place(findings.file, line, column), "remove it")


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _is_cut(plain: str | None) -> bool:
    """Tell whether plain text opens a parenthesis that it does not close."""
    return plain is not None and plain.count("(") > plain.count(")")


class _StopReadingError(Exception):
    """A bound is passed; the reason is among the findings."""


@dataclass(slots=True)
class _Frame:
    """A list or map that is being filled; `key` is the key whose value comes next.

    `flow` is set inside `{}` and `[]`, where a comma ends a plain value; `cut` is the value before, if it opened a
    parenthesis and did not close it.
    """

    value: Value
    flow: bool = False
    cut: Value | None = None
    key: Any = None
    key_mark: Mark = NOWHERE
    merges: list[Value] = field(default_factory=list)


class _Builder:
    """Takes events, makes values."""

    def __init__(self, file: str, text: str) -> None:
        self._found = Findings(file)
        self._file, self._text = file, text
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Value] = {}
        self._count = 0
        self._lines: _Lines | None = None
        self.root: Value | None = None
        self._takers: dict[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: lambda e: self._open(e, {}),
            yaml.SequenceStartEvent: lambda e: self._open(e, []),
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }

    @property
    def findings(self) -> list[Any]:
        return self._found.items

    def take(self, event: yaml.Event) -> None:
        taker = self._takers.get(type(event))
        if taker is not None:
            taker(event)

    def _document(self, event: Any) -> None:
        if self.root is not None:
            place = self._place(_mark(event))
            hint = "write each workflow into a file of its own"
            self._found.error("syntax", "more than one document in the file", place, hint)
            raise _StopReadingError

    def _place(self, mark: Mark) -> Place:
        return Place(self._file, mark.line, mark.column)

    def _counted(self, number: int, mark: Mark) -> None:
        self._count += number
        if self._count > VALUES_MAX:
            self._found.error(
                "too_many_values",
                f"the document has more than {VALUES_MAX:,} values with its aliases written out",
                self._place(mark),
                "use fewer aliases, or move data out of the workflow",
            )
            raise _StopReadingError

    def _tag(self, event: Any, mark: Mark, allowed: tuple[str | None, ...]) -> None:
        if event.tag not in allowed:
            self._found.error(
                "yaml_tag", f"the tag {event.tag} is not used here", self._place(mark), "remove it; quote text instead"
            )

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        mark = _mark(event)
        self._counted(1, mark)
        frame = self._stack[-1] if self._stack else None
        plain = event.style is None or event.style == ""
        if frame is not None and frame.cut is not None and frame.key is None and plain:
            self._rejoin(frame, frame.cut, event)
            return
        if frame is not None and isinstance(frame.value.data, dict) and frame.key is None:
            self._key(frame, event.value, mark, plain=plain)
            return
        self._tag(event, mark, _TEXT_TAGS)
        if plain and event.tag is None:
            value = Value(meaning(event.value), mark, text=event.value, ambiguous=event.value in AMBIGUOUS)
        else:
            value = Value(event.value, mark)
        self._anchor(event, value)
        self._attach(value)

    def _rejoin(self, frame: _Frame, cut: Value, event: yaml.ScalarEvent) -> None:
        """Put together what commas have cut, such as decimal(10,2), and say that it must be quoted."""
        if isinstance(frame.value.data, dict):
            frame.key = _SKIPPED
        if len(str(cut.text)) > _REJOINED_MAX:  # whatever it is, it is told when its bracket closes
            return
        start = SimpleNamespace(line=cut.mark.line - 1, column=cut.mark.column - 1)
        self._lines = self._lines or _Lines(self._text)
        whole = self._text[self._lines.offset(start) : self._lines.offset(event.end_mark)]
        cut.data = cut.text = whole
        if not _is_cut(whole):
            frame.cut = None
            self._unquoted(whole, cut.mark, f'write "{whole}" in double quotes')

    def _unquoted(self, text: str, mark: Mark, hint: str) -> None:
        shown = text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."
        what = f"{shown} must be quoted here: inside {{}} and [] a comma ends a value"
        self._found.error("unquoted_comma", what, self._place(mark), hint)

    def _key(self, frame: _Frame, text: str, mark: Mark, *, plain: bool) -> None:
        frame.key_mark = mark
        frame.key = text
        if plain and text in AMBIGUOUS:
            self._found.error(
                "ambiguous_key",
                f"the key {text} reads as true or false to some YAML readers",
                self._place(mark),
                f'write "{text}" in double quotes',
            )
        elif text in frame.value.data:
            first = frame.value.data[text].key_mark
            self._found.error(
                "duplicate_key",
                f"the key {text!r} is there already, in line {first.line}",
                self._place(mark),
                "remove one of them",
            )
            frame.key = _SKIPPED

    def _open(self, event: Any, data: Any) -> None:
        mark = _mark(event)
        self._counted(1, mark)
        if len(self._stack) >= DEPTH_MAX:
            self._too_deep(mark)
        self._tag(event, mark, (None, "!"))
        value = Value(data, mark)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.value.data, dict) and frame.key is None:
            self._found.error("complex_key", "a key must be text", self._place(mark), "write it as plain text")
            frame.key = _SKIPPED
        else:
            self._attach(value)
        self._anchor(event, value)
        self._stack.append(_Frame(value, flow=bool(event.flow_style)))

    def _too_deep(self, mark: Mark) -> None:
        self._found.error(
            "too_deep", f"nested more than {DEPTH_MAX} levels deep", self._place(mark), "flatten the document"
        )
        raise _StopReadingError

    def _close(self, event: yaml.Event) -> None:
        del event
        frame = self._stack.pop()
        if frame.cut is not None and "," in str(frame.cut.text):  # something was put to it, and it is still not whole
            self._unquoted(str(frame.cut.text), frame.cut.mark, "close the parenthesis, and write it in double quotes")
        for merged in frame.merges:
            for source in merged.list if isinstance(merged.data, list) else [merged]:
                if not isinstance(source.data, dict):
                    self._found.error("syntax", "<< takes a map", self._place(source.mark), "such as <<: *defaults")
                for key, value in source.map.items():
                    frame.value.data.setdefault(key, value)

    def _anchor(self, event: Any, value: Value) -> None:
        if event.anchor:
            self._anchors[event.anchor] = value

    def _alias(self, event: Any) -> None:
        mark = _mark(event)
        target = self._anchors.get(event.anchor)
        frame = self._stack[-1] if self._stack else None
        if target is None:
            hint = near(event.anchor, self._anchors) or f"write &{event.anchor} before what it stands for"
            self._found.error("syntax", f"there is no anchor &{event.anchor} before this", self._place(mark), hint)
            target = Value(None, mark)
        if any(f.value is target for f in self._stack):
            self._found.error("syntax", f"*{event.anchor} contains itself", self._place(mark), "write it out")
            target = Value(None, mark)
        if len(self._stack) + target.depth() > DEPTH_MAX:
            self._too_deep(mark)
        self._counted(target.size(), mark)
        if frame is not None and isinstance(frame.value.data, dict) and frame.key is None:
            self._key(frame, str(target.text or target.data), mark, plain=False)
        else:
            self._attach(replace(target.copy(), key_mark=NOWHERE))

    def _attach(self, value: Value) -> None:
        if not self._stack:
            if self.root is None:
                self.root = value
            return
        frame = self._stack[-1]
        frame.cut = value if frame.flow and frame.key is not _SKIPPED and _is_cut(value.text) else frame.cut
        if isinstance(frame.value.data, list):
            frame.value.data.append(value)
            return
        key, frame.key = frame.key, None
        value.key_mark = frame.key_mark
        if key is _SKIPPED:
            return
        if key == "<<":
            frame.merges.append(value)
        else:
            frame.value.data[key] = value
