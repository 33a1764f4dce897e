"""A task runs the code that was planned, whatever the file holds by then."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.batch import Batch
from dataflare.errors import StateError, UnavailableError, WorkflowError
from dataflare.processors import wasm_reload
from dataflare.processors.wasm import WasmConfig, WasmProcessor
from dataflare.schema import Schema
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = Schema.of({"id": "int64"})


def node(folder: Path, code: str = "", **config: Any) -> WasmProcessor:
    made = staged(WasmProcessor(WasmConfig(**{"module": "r.js", "reload": True, **config})), folder)
    made.context = replace(made.context, schemas={"0": SCHEMA}, code=code)
    return made


def write(folder: Path, number: int) -> None:
    (folder / "r.js").write_text(f"export const process = (r) => ({{ id: {number} }});")


def planned(folder: Path) -> str:
    made = node(folder)
    made.look()
    return made.code()


def answer(made: WasmProcessor) -> int:
    made.open()
    try:
        (out,) = made.process(Batch.of([{"id": 0}], schema=SCHEMA.to_arrow()))
        return int(out.rows["id"][0].as_py())
    finally:
        made.close()


def test_a_task_runs_what_was_planned(tmp_path: Path) -> None:
    write(tmp_path, 1)
    first = planned(tmp_path)
    write(tmp_path, 2)
    second = planned(tmp_path)
    assert first != second == node(tmp_path).code()
    (tmp_path / "r.js").unlink()
    assert [answer(node(tmp_path, code)) for code in (first, second)] == [1, 2]
    assert node(tmp_path).code() == "", "it is planned without the file, too"
    with pytest.raises(UnavailableError, match="cannot be read"):
        node(tmp_path).look()


def test_what_nobody_has_planned_here_is_not_run(tmp_path: Path) -> None:
    write(tmp_path, 1)
    with pytest.raises(UnavailableError, match="not the one that was planned"):
        answer(node(tmp_path, "0" * 64))
    assert answer(node(tmp_path, planned(tmp_path))) == 1


def test_a_few_versions_are_kept(tmp_path: Path) -> None:
    codes = []
    for number in range(wasm_reload.KEPT_MAX + 1):
        write(tmp_path, number)
        codes.append(planned(tmp_path))
    assert [answer(node(tmp_path, code)) for code in codes[1:]] == [1, 2, 3]
    with pytest.raises(UnavailableError, match="not the one that was planned"):
        answer(node(tmp_path, codes[0]))


def test_without_the_setting_the_code_has_no_name(tmp_path: Path) -> None:
    write(tmp_path, 1)
    made = node(tmp_path, reload=False)
    made.look()
    assert made.code() == ""


def test_an_installed_plugin_is_not_taken_in_anew(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match="reload goes with a file"):
        node(tmp_path, module="price@1.0.0").look()


def test_state_that_a_plugin_does_not_take_is_told(tmp_path: Path) -> None:
    head = "export const process = (r) => r, exportState = () => 1;\n"
    (tmp_path / "r.js").write_text(head + "export const importState = (s) => { throw new Error('no'); };")
    made = node(tmp_path)
    made.open()
    try:
        with pytest.raises(StateError, match=r"r\.js: the plugin does not take the state of the checkpoint: no"):
            made.restore({0: b'{"own": "7", "keys": {}}'})
    finally:
        made.close()
