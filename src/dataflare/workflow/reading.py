"""Turns bytes of a workflow file into a document, or says why they are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.errors import Place
from dataflare.workflow.document import BYTES_MAX, Document, Value
from dataflare.workflow.json_reader import read_json
from dataflare.workflow.yaml_reader import read_yaml

if TYPE_CHECKING:
    from dataflare.workflow.findings import Findings


def read_document(text: str | bytes, findings: Findings, *, json: bool = False) -> Document | None:
    """Return the document; None, with the reason among the findings, when there is no map to go on with."""
    if len(text) > BYTES_MAX:
        place = Place(findings.file)
        findings.error("too_large", f"the file is larger than {BYTES_MAX >> 20} MiB", place, "keep data out of it")
        return None
    decoded = _decoded(text, findings)
    if decoded is None:
        return None
    root = read_json(decoded, findings) if json else read_yaml(decoded, findings)
    if root is None:
        if not findings.failed:
            findings.error("empty", "the document is empty", Place(findings.file, 1, 1), "start with id: my-workflow")
        return None
    if not isinstance(root.data, dict):
        place = Place(findings.file, root.mark.line, root.mark.column)
        findings.error("not_a_map", f"a workflow is a map, not {_kind(root)}", place, "start with id: my-workflow")
        return None
    return Document(root, findings.file, decoded)


def _decoded(text: str | bytes, findings: Findings) -> str | None:
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = text[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        findings.error("syntax", "the file is not UTF-8 text", Place(findings.file, line, column), "save it as UTF-8")
        return None


def _kind(value: Value) -> str:
    return "a list" if isinstance(value.data, list) else "a single value"
