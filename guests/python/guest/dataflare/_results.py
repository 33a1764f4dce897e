"""What a plugin returns and raises, and how it is told."""

from typing import Any

FILE = "<plugin>"
"""How the file of the plugin is called in tracebacks."""


class BadRecord(Exception):
    """The record is bad: `on_error` of the node decides about it."""


class Transient(Exception):
    """The same may succeed later: the run goes back to its last checkpoint and tries again."""


class Fatal(Exception):
    """The plugin cannot go on: the run ends."""


class Routed:
    """A record for an output of this name."""

    __slots__ = ("output", "record")

    def __init__(self, output: str, record: dict[str, Any]) -> None:
        """Keep both."""
        self.output, self.record = output, record


def to(output: str, record: dict[str, Any]) -> Routed:
    """Send a record to another output, which `outputs` names."""
    return Routed(str(output), record)


_PLAIN = (Exception, BadRecord, Transient, Fatal)


def told(error: BaseException) -> str:
    """Say an error as "message (line)", by the innermost place in the plugin's own file."""
    kind = type(error).__name__
    try:
        text = str(error)
    except BaseException as again:  # its own `__str__`
        text = f"it cannot be told: {type(again).__name__}"
    if type(error) not in _PLAIN:
        text = f"{kind}: {text}" if text else kind
    line = _line(error)
    return f"{text or kind} ({line})" if line else text or kind


def _line(error: BaseException) -> int | None:
    line, at = None, error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == FILE:
            line = at.tb_lineno
        at = at.tb_next
    return line


def misspelt(error: SyntaxError) -> str:
    """Say why a file is no Python, as "message (line:column)"."""
    if error.lineno is None:
        return str(error)
    return f"{error.msg} ({error.lineno}:{error.offset or 1})"


def several(result: Any) -> list[Any]:
    """Return the records of a result that is neither a dict nor None, each of them looked at."""
    if isinstance(result, (dict, Routed)):
        found = [result]
    elif isinstance(result, (list, tuple)) or type(result).__name__ == "generator":
        found = list(result)
    elif type(result).__name__ == "coroutine":
        result.close()
        raise Fatal("process is asynchronous, and there is nothing to wait for")
    else:
        raise BadRecord(f"process returned no record, but {type(result).__name__}")
    for one in found:
        record = one.record if isinstance(one, Routed) else one
        if not isinstance(record, dict):
            raise BadRecord(f"process returned {'None' if record is None else type(record).__name__} in a list")
    return found
