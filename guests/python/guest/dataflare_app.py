"""The component in which plugins in Python run. It is built once; the file of a plugin comes with the settings."""

import gc
import random
import time

import dataflare_modules
from componentize_py_types import Err
from dataflare._loading import Plugin, Refused, evaluated
from dataflare._results import Fatal, Routed, Transient, several, told
from dataflare._texts import read, whole, write
from wit_world import exports
from wit_world.imports import types

from dataflare import _batches, _host

SEED = 0
"""Of `random`, in every instance."""
_CASES = {Transient: types.PluginError_Transient, Fatal: types.PluginError_Fatal}


class _State:
    plugin: Plugin
    decimals: list[str] = []


def _failed(error: BaseException, case: type) -> Err:
    """Return what tells the host of an error: as what it is, or else as this case."""
    if isinstance(error, Refused):
        return Err(types.PluginError_Fatal(str(error)))
    if isinstance(error, MemoryError) and case is types.PluginError_Fatal:
        return Err(case(f"{told(error)}: the rows of a call take more memory than the plugin may use"))
    for kind, other in _CASES.items():
        if isinstance(error, kind):
            case = other
    return Err(case(told(error).encode(errors="replace").decode()))


class Lifecycle(exports.Lifecycle):
    """What is called once."""

    def describe(self) -> types.PluginInfo:
        """Tell what the file says of itself."""
        plugin = _State.plugin
        outputs = [("", plugin.types(""))] if plugin.types("") is not None else []
        outputs += plugin.outputs.items()
        lines = plugin.process_columns is None and plugin.input is None
        return types.PluginInfo(
            name=plugin.name,
            version=plugin.version,
            config_schema=write(plugin.settings),
            stateful=plugin.export_state is not None,
            input=plugin.input,
            format=types.Format.JSON_LINES if lines else types.Format.JSON_COLUMNS,
            outputs=[_output(name, kinds, plugin) for name, kinds in outputs],
        )

    def open(self, config: str) -> None:
        """Run the file, and give it its settings."""
        try:
            given = read(config)
            dataflare_modules.close_the_door()
            _host.speak()
            random.seed(SEED)
            time.sleep = dataflare_modules.refuse_to_wait
            plugin = evaluated(given["code"])
            if given.get("output") is not None:
                plugin.output = given["output"]  # that of the workflow goes before its own
            plugin.packs = bool(given.get("packed"))
            _State.plugin, _State.decimals = plugin, given.get("decimals") or []
            if plugin.open is not None:
                plugin.open(given["settings"])
            gc.freeze()  # what is there will stay
            _host.flush()
        except BaseException as error:
            raise _failed(error, types.PluginError_Fatal) from None

    def close(self) -> None:
        """Let the plugin clean up."""
        try:
            if _State.plugin.close is not None:
                _State.plugin.close()
            _host.flush()
        except BaseException as error:
            _host.log(f"close: {told(error)}", "error")

    def export_state(self) -> str:
        """Return the state between two batches."""
        try:
            found = _State.plugin.export_state
            text = "null" if found is None else whole(write(found()))
            _host.flush()
        except BaseException as error:
            _host.log(f"export_state: {told(error)}", "error")  # the interface has no place for it
            raise
        return text

    def import_state(self, state: str) -> None:
        """Give it back."""
        try:
            if _State.plugin.import_state is not None:
                _State.plugin.import_state(read(state))
            _host.flush()
        except BaseException as error:
            raise _failed(error, types.PluginError_Fatal) from None


class Processor(exports.Processor):
    """What is called with rows."""

    def process(self, value: str) -> types.Outcome:
        """Call `process` once."""
        try:
            record = read(value)
            _batches.exact(record, _State.decimals)
            if _State.plugin.process is None:
                raise Fatal("it defines no process, and process_columns takes batches")
            found = _outcome(_State.plugin.process(record))
            _host.flush()
        except BaseException as error:
            raise _failed(error, types.PluginError_BadRecord) from None
        return found

    def process_batch(self, input: types.Batch) -> types.BatchResult:
        """Call `process` for each row."""
        try:
            if input.format == types.Format.JSON_LINES:
                parts, errors = _batches.lines(_State.plugin, input.rows, input.data, _State.decimals)
            else:
                parts, errors = _batches.columns(_State.plugin, input.rows, input.data)
            _host.flush()
        except BaseException as error:
            raise _failed(error, types.PluginError_Fatal) from None
        bad = [types.RowError(row, why.encode(errors="replace").decode()) for row, why in errors]
        return types.BatchResult([types.Part(*part) for part in parts], bad)


def _output(name: str, kinds: dict[str, str] | None, plugin: Plugin) -> types.Output:
    columns = None if kinds is None else [types.Column(column, kind) for column, kind in kinds.items()]
    return types.Output(name, columns, not name and plugin.output is None and plugin.adds is not None)


def _outcome(result: object) -> types.Outcome:
    if result is None:
        return types.Outcome_Drop()
    if isinstance(result, dict):
        return types.Outcome_Keep(whole(write(result)))
    rows = several(result)
    if any(isinstance(row, Routed) for row in rows):
        return types.Outcome_Route([_routed(row) for row in rows])
    return types.Outcome_Many([whole(write(row)) for row in rows])


def _routed(row: object) -> types.Routed:
    output, record = (row.output, row.record) if isinstance(row, Routed) else ("", row)
    return types.Routed(whole(output), whole(write(record)))
