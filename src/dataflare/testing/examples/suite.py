"""The tests of one file with the workflow that they are of; finds such files in a folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dataflare.errors import InvalidWorkflowError, WorkflowError
from dataflare.testing.examples.told_columns import known_outputs
from dataflare.workflow.checking import Checker
from dataflare.workflow.example_text import ExamplesText
from dataflare.workflow.examples import check_examples
from dataflare.workflow.findings import Findings
from dataflare.workflow.loading import Around, load_document
from dataflare.workflow.reading import read_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from dataflare.component import Registry
    from dataflare.errors import Finding
    from dataflare.plan import Plan
    from dataflare.workflow import Loaded
    from dataflare.workflow.document import Document
    from dataflare.workflow.example_text import ExampleText

SUFFIXES = (".yaml", ".yml", ".json")
MARK = ".test"
FILES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests of one file, the document in which they stand, and the plan with the columns that they tell."""

    file: str
    plan: Plan
    examples: list[ExampleText]
    document: Document
    registry: Registry
    findings: tuple[Finding, ...] = ()


def find_suites(path: Path) -> list[Path]:
    """Return the files that hold tests: a file itself and the one beside it, or all those in a folder, by name.

    Raises WorkflowError where there is nothing.
    """
    if not path.is_dir():
        beside = [path.with_name(f"{path.stem}{MARK}{suffix}") for suffix in SUFFIXES]
        return [path, *(p for p in beside if p.is_file())]
    found = [p for p in sorted(path.rglob("*")) if p.suffix in SUFFIXES and not _hidden(p, path) and _has_tests(p)]
    if not found:
        raise WorkflowError(
            f"there are no tests in {path}", hint="write tests: into a workflow file, or NAME.test.yaml"
        )
    return found[:FILES_MAX]


def suite_of(file: Path, registry: Registry, environ: Mapping[str, str]) -> Suite | None:
    """Return the tests of a file; None where it has none. Raises InvalidWorkflowError with all findings."""
    findings = Findings(str(file))
    document = _read(file, findings)
    if document is None:
        raise InvalidWorkflowError(findings.found())
    if "tests" not in document.root.map and not file.stem.endswith(MARK):
        return None
    if not file.stem.endswith(MARK):
        return suite_from(lambda: _read(file, Findings(str(file))), Around(registry, environ, file.parent))
    checked = Checker(document, findings)
    checked.ambiguous(("tests",))
    text, _ = checked.check(ExamplesText, document.plain(), ())
    if text is None:
        raise InvalidWorkflowError(findings.found())
    workflow = file.with_name(text.workflow) if text.workflow else _beside(file)
    around = Around(registry, environ, workflow.parent)
    return suite_from(lambda: _read_or_raise(workflow), around, (document, text.tests))


def suite_from(
    read: Callable[[], Document | None], around: Around, apart: tuple[Document, list[ExampleText]] | None = None
) -> Suite:
    """Return the tests of a workflow; `read` returns its document anew each time, `apart` are tests of another file."""
    loaded = _loaded(read, around)
    assert loaded.document is not None
    document, examples = apart or (loaded.document, loaded.tests)
    plan = _plan(loaded)
    _check(examples, document, plan)
    known = known_outputs(examples, plan)
    again = _loaded(read, replace(around, known=known))
    plan = _plan(again)
    _check(examples, document, plan)
    return Suite(document.file, plan, examples, document, around.registry, tuple(again.findings))


def _loaded(read: Callable[[], Document | None], around: Around) -> Loaded:
    document = read()
    assert document is not None
    return load_document(document, Findings(document.file), around)


def _plan(loaded: Loaded) -> Plan:
    if loaded.plan is None:
        raise InvalidWorkflowError(loaded.findings)
    return loaded.plan


def _check(examples: list[ExampleText], document: Document, plan: Plan) -> None:
    findings = Findings(document.file)
    check_examples(examples, document, plan, findings)
    if findings.failed:
        raise InvalidWorkflowError(findings.found())


def _read(file: Path, findings: Findings) -> Document | None:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise WorkflowError(f"{file} cannot be read: {error.strerror}", hint="check the path") from error
    return read_document(data, findings, json=file.suffix == ".json")


def _read_or_raise(file: Path) -> Document:
    findings = Findings(str(file))
    document = _read(file, findings)
    if document is None:
        raise InvalidWorkflowError(findings.found())
    return document


def _beside(file: Path) -> Path:
    """Return the workflow file that a file of tests stands beside."""
    stem = file.stem.removesuffix(MARK)
    names = [file.with_name(f"{stem}{suffix}") for suffix in (file.suffix, *SUFFIXES)]
    found = next((p for p in names if p.is_file()), None)
    if found is None:
        hint = "name it: workflow: FILE"
        raise WorkflowError(f"there is no workflow file {names[0].name} beside {file}", hint=hint)
    return found


def _hidden(path: Path, top: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(top).parts)


def _has_tests(path: Path) -> bool:
    """Tell whether a file may hold tests: cheaply, and without a word about files of other kinds."""
    if path.stem.endswith(MARK):
        return True
    try:
        text = path.read_bytes()
    except OSError:
        return False
    lines: Iterator[bytes] = (line.strip() for line in text.splitlines())
    return any(line.startswith((b"tests:", b'"tests"')) for line in lines)


__all__ = ["Suite", "find_suites", "suite_from", "suite_of"]
