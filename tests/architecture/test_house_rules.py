"""The house rules that a linter cannot say; each failure names the file, the line and the rule."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "dataflare"
LINES_MAX, FUNCTION_LINES_MAX, PARAMETERS_MAX = 400, 60, 6
BUILT, BUILT_BYTES_MAX = "src/dataflare/plugin/runtimes/", 1_000_000
"""Components that `make test` builds again and compares."""
FILE_BYTES_MAX = 500_000
VAGUE = {"util", "utils", "common", "helper", "helpers", "misc", "base", "core", "lib", "shared", "tools", "stuff"}
CLOCK_CALLS = {
    *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.sleep"),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "asyncio.sleep"),
    *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.date.today"),
}
CHANCE_CALLS = {"uuid.uuid1", "uuid.uuid4", "os.urandom", "random.random", "random.choice", "random.randint"}
MAY_TELL_TIME = {"clock.py"}
MAY_CATCH_ALL = {
    "actor/cell.py",  # where a failure becomes the death of an actor
    "actor/supervisor.py",  # which decides what is next
    "component/registry.py",  # the border to a user's module, while it is imported
    "connectors/python/loading.py",  # the border to a user's module, while it is imported
    "executor/faults.py",  # the border to connectors and processors, whose failures get a node and a code
    "executor/runtime.py",  # an observer that fails must not end a run
    "monitoring/observers.py",
    "operate/starter.py",  # where the failure of a run becomes its record
    "operate/upkeep.py",  # what becomes of one workflow must not touch the others
    "plugin/core_module.py",  # the border to the C interface, whose one place for exceptions all threads share
    "plugin/imports.py",  # the border to the C interface, whose one place for exceptions all threads share
    "processors/python_lines.py",  # the border to a user's function, whose block is then worked on row by row
    "processors/python_modes.py",  # the border to a user's function, whose failure is a row's
    "processors/python_worker.py",  # the border to a user's module, while it is imported
}
MAY_IMPORT_NUMPY = (
    *(f"connectors/{name}/{part}/" for name in ("mariadb", "postgres") for part in ("changes", "replication")),
    # What these share, imported by them alone.
    *("sql/first_reading.py", "sql/change_source.py", "sql/misfits.py", "sql/spans.py"),
)
"""What the extra `cdc` is for; in the base install it would cost each start a tenth of a second."""
MACHINE_PATH = re.compile(r"(?<![\w.$}/])/(?:home/\w+|root|work|Users/\w+)/")


def judge(rule: str, wrong: list[str]) -> None:
    """Fail with the rule and every place that breaks it."""
    if wrong:
        pytest.fail("\n  ".join([f"{rule}:", *wrong]), pytrace=False)


@cache
def tracked() -> list[Path]:
    """Return the files of the project that git holds, or would; outside a checkout all that are there."""
    if shutil.which("git") and (ROOT / ".git").exists():
        git = ["git", "-C", str(ROOT), "-c", "safe.directory=*"]
        command = [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
        return [ROOT / name for name in sorted(set(names)) if name and (ROOT / name).is_file()]
    hidden = {p.name for p in ROOT.iterdir() if p.name.startswith(".")} - {".ci"} | {"__pycache__"}
    return [p for p in sorted(ROOT.rglob("*")) if p.is_file() and not hidden & {*p.relative_to(ROOT).parts}]


@cache
def modules(folder: str = "src") -> list[tuple[Path, ast.Module]]:
    """Return each Python file below a folder with its syntax tree."""
    return [
        (p, ast.parse(p.read_text(), str(p)))
        for p in tracked()
        if p.suffix == ".py" and p.is_relative_to(ROOT / folder)
    ]


def at(path: Path, node: ast.AST | None = None) -> str:
    """Return the place as `src/dataflare/plan.py:12`."""
    line = f":{getattr(node, 'lineno', 0)}" if node is not None else ""
    return f"{path.relative_to(ROOT)}{line}"


def room(path: Path) -> str:
    """Return the path inside the package."""
    return path.relative_to(SOURCE).as_posix()


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function, at any depth."""
    return (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def calls(tree: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    """Yield every call with the text of what is called."""
    return ((n, ast.unparse(n.func)) for n in ast.walk(tree) if isinstance(n, ast.Call))


def offers() -> Iterator[tuple[str, str, Path, str]]:
    """Yield (kind, name, file, class) of each entry point that pyproject.toml declares."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    for group, entries in groups.items():
        for name, target in entries.items():
            module, _, attribute = target.partition(":")
            file = ROOT.joinpath("src", *module.split("."))
            package = file / "__init__.py"
            yield (
                group.removeprefix("dataflare."),
                name,
                package if package.exists() else file.with_suffix(".py"),
                attribute,
            )


def test_a_module_says_in_its_first_line_what_it_is() -> None:
    wrong = []
    for folder in ("src", "tests", "scripts", "benchmarks"):
        for path, tree in modules(folder):
            first = (ast.get_docstring(tree) or "").partition("\n")[0]
            if tree.body and not first.endswith("."):
                wrong.append(at(path))
    judge("the first line of the docstring is a sentence with a period", wrong)


def test_a_name_says_what_the_file_holds() -> None:
    wrong = [at(p) for p, _ in modules() if VAGUE & {p.stem, *p.relative_to(SOURCE.parent).parts[:-1]}]
    judge("name the thing, not the shelf", wrong)


def test_a_file_fits_in_a_head() -> None:
    sizes = [(at(p), len(p.read_text().splitlines())) for f in ("src", "tests", "scripts") for p, _ in modules(f)]
    wrong = [f"{place}: {lines} lines" for place, lines in sizes if lines > LINES_MAX]
    judge(f"at most {LINES_MAX} lines", wrong)


def test_a_function_fits_on_a_screen_and_its_call_in_a_glance() -> None:
    wrong = []
    for path, tree in modules():
        for node in functions(tree):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            named = [a.arg for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
            parameters = len([a for a in named if a not in ("self", "cls")])
            typed_in = any(".command" in ast.unparse(d) for d in node.decorator_list)  # users name their options
            if lines > FUNCTION_LINES_MAX or (parameters > PARAMETERS_MAX and not typed_in):
                wrong.append(f"{at(path, node)} {node.name}: {lines} lines, {parameters} parameters")
    judge(f"at most {FUNCTION_LINES_MAX} lines and {PARAMETERS_MAX} parameters", wrong)


def test_only_the_clock_knows_the_time() -> None:
    wrong = []
    for path, tree in modules():
        if path.name in MAY_TELL_TIME or room(path).startswith("testing/"):
            continue
        told = [(n, name) for n, name in calls(tree) if name in CLOCK_CALLS and ast.unparse(n) != "asyncio.sleep(0)"]
        wrong += [f"{at(path, node)} {name}" for node, name in told]
        froms = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "time"]
        wrong += [f"{at(path, node)} from time import" for node in froms]
    judge("ask the clock of the context", wrong)


def test_chance_comes_in_with_the_runtime() -> None:
    wrong = [f"{at(p, node)} {name}" for p, tree in modules() for node, name in calls(tree) if name in CHANCE_CALLS]
    judge("use the randomness of the context, or a name made of what is known", wrong)


def test_product_code_does_not_print() -> None:
    wrong = [at(path, node) for path, tree in modules() for node, name in calls(tree) if name == "print"]
    judge("emit an event, or write with the console of the command line", wrong)


def test_only_supervisors_catch_everything() -> None:
    wrong = []
    for path, tree in modules():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = ast.unparse(node.type) if node.type else "everything"
            broad = node.type is None or re.search(r"\b(Exception|BaseException)\b", caught)
            if node.type is None or (broad and room(path) not in MAY_CATCH_ALL):
                wrong.append(f"{at(path, node)} catches {caught}")
    judge("catch what you can cure; translate what is foreign at the border", wrong)


def test_an_error_is_dropped_only_with_a_reason() -> None:
    wrong = []
    for path, tree in modules():
        lines = path.read_text().splitlines()
        for node in ast.walk(tree):
            silent = isinstance(node, ast.ExceptHandler) and all(isinstance(s, ast.Pass) for s in node.body)
            if silent and "#" not in "".join(lines[node.lineno - 1 : node.end_lineno]):
                wrong.append(at(path, node))
    judge("handle it, or say in a comment on `pass` why it does not matter", wrong)


def test_numpy_is_imported_only_where_an_extra_brings_it() -> None:
    wrong = []
    for path, tree in modules():
        if room(path).startswith(MAY_IMPORT_NUMPY):
            continue
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if {"numpy", "pandas"} & {n.partition(".")[0] for n in names}:
                wrong.append(at(path, node))
    judge("the base install has neither numpy nor pandas", wrong)


def test_every_entry_point_names_a_class_that_is_there() -> None:
    wrong = []
    for kind, name, file, attribute in offers():
        tree = ast.parse(file.read_text()) if file.exists() else ast.Module([], [])
        if attribute not in {n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef)}:
            wrong.append(f"{kind} {name}: no class {attribute} in {file.relative_to(ROOT)}")
    judge("the file and the class of an entry point exist", wrong)


def test_every_connector_has_a_contract_test() -> None:
    texts = [path.read_text() for path, _ in modules("tests")]
    tests = "\n".join(text for text in texts if "from dataflare.testing." in text)
    connectors = [(kind, name, cls) for kind, name, _, cls in offers() if kind in ("source", "destination")]
    wrong = [f"{kind} {name}" for kind, name, cls in connectors if not re.search(rf"\b{cls}\b", tests)]
    judge("test it with what dataflare.testing offers: the suite of its kind", wrong)


def test_no_file_is_large() -> None:
    files = [p for p in tracked() if not (at(p).startswith(BUILT) and p.stat().st_size < BUILT_BYTES_MAX)]
    wrong = [f"{at(p)}: {p.stat().st_size:,} bytes" for p in files if p.stat().st_size > FILE_BYTES_MAX]
    judge(f"at most {FILE_BYTES_MAX:,} bytes: generate it, or fetch it where it is needed", wrong)


def test_no_file_knows_a_machine() -> None:
    wrong = []
    for path in tracked():
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        wrong += [f"{at(path)}:{n} {line.strip()[:60]}" for n, line in enumerate(lines, 1) if MACHINE_PATH.search(line)]
    judge("paths are relative, or come from the surroundings", wrong)


def test_locks_name_no_host() -> None:
    locks = [*sorted((ROOT / "requirements").glob("*.lock")), *sorted((ROOT / "guests").glob("*/package-lock.json"))]
    assert {path.suffix for path in locks} == {".lock", ".json"}
    wrong = [at(path) for path in locks if "://" in path.read_text()]
    judge("write them with: make lock; of those of npm take out what says `funding`", wrong)


def test_nobody_changes_the_mask_of_the_process() -> None:
    wrong = [
        at(path, node)
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "umask"
    ]
    judge("other threads make files meanwhile: give the mode to what is made", wrong)
