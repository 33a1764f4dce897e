"""The manifest of a plugin, `plugin.toml`: what it is called, which file runs, and what it asks for."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from dataflare.component.settings import seconds_of, size_of
from dataflare.errors import Finding, InvalidWorkflowError, Place, UnavailableError
from dataflare.plugin.manifest_text import DEPTH_MAX, lines_of, toml_of
from dataflare.plugin.semantic_version import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MANIFEST = "plugin.toml"
BYTES_MAX = 64 << 10
DOTS_MAX = 1000
"""On one line: the time that the library takes for a key grows with the square of its parts."""
CODE = "plugin.manifest"
"""The code of all findings."""
INTERFACE = 1
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){0,9}")
_SCRIPTS = (".js", ".mjs")
ENTRIES: Mapping[str, tuple[str, ...]] = {
    "javascript": _SCRIPTS,
    "typescript": (".ts", ".mts", *_SCRIPTS),
    "python": (".py",),
    **dict.fromkeys(("rust", "c", "go", "zig", "assemblyscript"), (".wasm",)),
}
"""The languages, and the endings of what runs."""
_TABLES = ("plugin", "settings", "limits", "capabilities")


@dataclass(frozen=True, slots=True)
class WantedFolder:
    """A folder that a plugin asks for: where it sees it, and whether it writes there."""

    path: str
    write: bool = False


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a plugin asks for beyond its rows; it gets what an install and a workflow grant, and nothing else."""

    files: tuple[WantedFolder, ...] = ()
    env: tuple[str, ...] = ()
    clock: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return it as it is written in a manifest."""
        return {
            "files": [{"path": f.path, "write": f.write} for f in self.files],
            "env": list(self.env),
            "clock": self.clock,
        }


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `plugin.toml` says. `entry` and `source` are relative to it; `source` is "" where nothing is built.

    `settings` is a JSON Schema; `memory_bytes_max` and `seconds_max` are wishes, None where there are none.
    """

    name: str
    version: str
    language: str
    entry: str
    description: str = ""
    source: str = ""
    interface: int = INTERFACE
    settings: Mapping[str, Any] = field(default_factory=dict)
    memory_bytes_max: int | None = None
    seconds_max: float | None = None
    capabilities: Capabilities = Capabilities()

    @classmethod
    def read(cls, folder_or_text: Path | str, shown: str = "") -> Manifest:
        """Read the manifest of a folder, or its text; `shown` is what errors call the file.

        Raises UnavailableError where there is none, InvalidWorkflowError with all that is wrong, each with its line.
        """
        if isinstance(folder_or_text, str):
            return _Reading(folder_or_text, shown or MANIFEST).manifest()
        path = folder_or_text / MANIFEST
        shown = shown or str(path)
        try:
            with path.open("rb") as file:
                data = file.read(BYTES_MAX + 1)
        except OSError as error:
            raise UnavailableError(
                f"the manifest cannot be read: {error.strerror}",
                hint="a plugin's folder has a plugin.toml",
                place=Place(shown),
            ) from error
        return cls.of_bytes(data, shown)

    @classmethod
    def of_bytes(cls, data: bytes, shown: str) -> Manifest:
        """Read the manifest from the bytes of its file."""
        if len(data) > BYTES_MAX:
            raise _invalid(f"the manifest has more than {BYTES_MAX >> 10} KB", shown)
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise _invalid(f"byte {error.start} is no UTF-8", shown) from None
        return cls.read(text, shown)

    def to_toml(self) -> str:
        """Return the text of a manifest that says this."""
        plugin: dict[str, Any] = {"name": self.name, "version": self.version}
        plugin |= {"description": self.description} if self.description else {}
        plugin |= {"language": self.language, "entry": self.entry}
        plugin |= {"source": self.source} if self.source else {}
        plugin |= {"interface": self.interface}
        limits: dict[str, Any] = {}
        if self.memory_bytes_max is not None:
            limits["memory"] = f"{self.memory_bytes_max}B"
        if self.seconds_max is not None:
            limits["timeout"] = f"{self.seconds_max:.6f}s"
        asked = self.capabilities
        wanted = {n: v for n, v in asked.as_json().items() if v}
        tables = {"plugin": plugin, "settings": dict(self.settings), "limits": limits, "capabilities": wanted}
        return toml_of({n: t for n, t in tables.items() if t})

    @property
    def reference(self) -> str:
        """How a workflow names it: `price@1.2.0`."""
        return f"{self.name}@{self.version}"


class _Reading:
    """One reading of a text, which collects what is wrong."""

    def __init__(self, text: str, shown: str) -> None:
        self._text, self._shown = text, shown
        self._findings: list[Finding] = []
        self._lines: Mapping[tuple[str, ...], int] = {}

    def manifest(self) -> Manifest:
        for number, line in enumerate(self._text.split("\n"), 1):
            if line.count(".") > DOTS_MAX:
                raise _invalid(f"there are more than {DOTS_MAX} dots in this line", self._shown, number)
        try:
            data = tomllib.loads(self._text)
        except ValueError as error:  # a number of very many digits has no class of its own
            raise _unparsable(error, self._shown, self._text) from None
        except RecursionError:
            raise _invalid("the manifest is nested too deep", self._shown) from None
        self._lines = lines_of(self._text)
        self._known(data, (), _TABLES)
        plugin = self._table(data, ("plugin",), ("name", "version", "description", "language", "entry", "source",
                                                 "interface"))  # fmt: skip
        if "plugin" not in data:
            self._say("the table [plugin] is missing", (), "it has name, version, language and entry")
            raise InvalidWorkflowError(self._findings)
        told = self._plugin(plugin)
        found = Manifest(**told, settings=self._settings(data), **self._limits(data), capabilities=self._wanted(data))
        if self._findings:
            raise InvalidWorkflowError(sorted(self._findings, key=lambda f: f.place.line))
        return found

    # ---- tables -------------------------------------------------------------------------------------------------

    def _plugin(self, plugin: Mapping[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for key in ("name", "version", "language", "entry"):
            if key not in plugin:
                self._say(f"plugin.{key} is missing", ("plugin",))
        for key in ("name", "version", "description", "language", "entry", "source"):
            told[key] = self._text_of(plugin, key)
        checks: Mapping[str, tuple[Callable[[str], bool], str, str]] = {
            "name": (
                lambda v: _NAME.fullmatch(v) is not None,
                "is no name of a plugin",
                "lower-case letters, digits and -, at most 64, a letter first",
            ),
            "version": (Version.is_valid, "is no semantic version", "such as 1.2.0"),
            "language": (lambda v: v in ENTRIES, "is no language of plugins", _near(told["language"], ENTRIES)),
            "entry": (is_file_name, "is no path of a file in the plugin's folder", "relative, and with / only"),
            "source": (is_file_name, "is no path of a file in the plugin's folder", "relative, and with / only"),
        }
        for key, (good, what, hint) in checks.items():
            if told[key] and not good(told[key]):
                self._say(f"plugin.{key}: {told[key]!r} {what}", ("plugin", key), hint)
            elif key in plugin and plugin[key] == "":
                self._say(f"plugin.{key} is empty", ("plugin", key))
        endings = ENTRIES.get(told["language"])
        if endings and told["entry"] and PurePosixPath(told["entry"]).suffix not in endings:
            self._say(
                f"plugin.entry: {told['entry']!r} is no file of {told['language']} that runs",
                ("plugin", "entry"),
                f"it ends in {' or '.join(endings)}",
            )
        told["interface"] = plugin.get("interface", INTERFACE)
        if type(told["interface"]) is not int or told["interface"] != INTERFACE:
            self._say(f"plugin.interface must be {INTERFACE}", ("plugin", "interface"), "this host speaks no other one")
        return told

    def _text_of(self, plugin: Mapping[str, Any], key: str) -> str:
        value = plugin.get(key, "")
        if not isinstance(value, str):
            self._say(f"plugin.{key} must be text", ("plugin", key))
            return ""
        if not value.isprintable():
            self._say(f"plugin.{key} has characters that cannot be shown", ("plugin", key), "one line of text")
        return value

    def _settings(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        settings = data.get("settings", {})
        if not isinstance(settings, dict):
            self._say("settings must be a table", ("settings",))
            return {}
        if settings.get("type", "object") != "object":
            self._say('settings.type must be "object"', ("settings", "type"), "settings are a map of names")
        if not isinstance(settings.get("properties", {}), dict):
            self._say("settings.properties must be a table", ("settings", "properties"))
        if _depth(settings) > DEPTH_MAX:
            self._say(f"settings are nested more than {DEPTH_MAX} levels deep", ("settings",))
            return {}
        for path in _not_json(settings, ("settings",)):
            self._say(f"{'.'.join(path)} is nothing that JSON has", path, "dates are written as text")
        return settings

    def _limits(self, data: Mapping[str, Any]) -> dict[str, Any]:
        limits = self._table(data, ("limits",), ("memory", "timeout"))
        return {
            "memory_bytes_max": self._measure(limits, "memory", size_of, 1 << 20),
            "seconds_max": self._measure(limits, "timeout", seconds_of, 0),
        }

    def _measure(self, limits: Mapping[str, Any], key: str, of: Callable[[Any], Any], least: int) -> Any:
        if key not in limits:
            return None
        wrong, found = "", None
        if isinstance(limits[key], str):
            try:
                found = of(limits[key])
            except ValueError as error:
                wrong = str(error)
        else:
            wrong = "must be text with a unit, such as " + ('"64MB"' if key == "memory" else '"2s"')
        if found is not None and (found < least or found <= 0):
            wrong = "must be at least 1 MiB" if key == "memory" else "must be more than nothing"
        if wrong:
            self._say(f"limits.{key}: {wrong}", ("limits", key))
        return found

    def _wanted(self, data: Mapping[str, Any]) -> Capabilities:
        asked = self._table(data, ("capabilities",), ("files", "env", "clock"))
        files, env, clock = asked.get("files", []), asked.get("env", []), asked.get("clock", False)
        if not isinstance(clock, bool):
            self._say("capabilities.clock must be true or false", ("capabilities", "clock"))
        if not isinstance(env, list) or not all(isinstance(n, str) and _VARIABLE.fullmatch(n) for n in env):
            self._say("capabilities.env must be a list of names of variables", ("capabilities", "env"))
            env = []
        if not isinstance(files, list):
            self._say("capabilities.files must be a list", ("capabilities", "files"), '[{ path = "/rates" }]')
            files = []
        folders = tuple(f for one in files if (f := self._folder(one)) is not None)
        twice = sorted({f.path for f in folders if [g.path for g in folders].count(f.path) > 1})
        if twice:
            self._say(f"capabilities.files has {twice[0]} twice", ("capabilities", "files"))
        return Capabilities(folders, tuple(dict.fromkeys(env)), clock is True)

    def _folder(self, one: Any) -> WantedFolder | None:
        path = ("capabilities", "files")
        if not isinstance(one, dict) or not isinstance(one.get("path"), str):
            self._say("an entry of capabilities.files has a path", path, '{ path = "/rates", write = false }')
            return None
        self._known(one, path, ("path", "write"))
        place, write = one["path"], one.get("write", False)
        if not is_guest_folder(place):
            self._say(f"capabilities.files: {place!r} is no folder", path, "absolute, without . and .., such as /rates")
            return None
        if not isinstance(write, bool):
            self._say("capabilities.files: write must be true or false", path)
        return WantedFolder(place, write is True)

    # ---- small things -------------------------------------------------------------------------------------------

    def _table(self, data: Mapping[str, Any], path: tuple[str, ...], known: tuple[str, ...]) -> Mapping[str, Any]:
        table = data.get(path[0], {})
        if not isinstance(table, dict):
            self._say(f"{path[0]} must be a table", path, f"write it as [{path[0]}]")
            return {}
        self._known(table, path, known)
        return table

    def _known(self, table: Mapping[str, Any], path: tuple[str, ...], known: tuple[str, ...]) -> None:
        for key in table:
            if key not in known:
                self._say(f"unknown key {'.'.join((*path, key))}", (*path, key), _near(key, known))

    def _say(self, what: str, path: tuple[str, ...], hint: str = "") -> None:
        line = next((n for at in range(len(path), 0, -1) if (n := self._lines.get(path[:at]))), 1)
        where = Place(self._shown, line, path=".".join(path[:DEPTH_MAX]))
        self._findings.append(Finding("error", CODE, what, hint, where))


def is_file_name(text: str) -> bool:
    """Tell whether a text names a file in a plugin's folder, on any system: relative, plain characters, no way up."""
    return _FILE.fullmatch(text) is not None and not text.endswith(".") and "./" not in text


def is_guest_folder(text: str) -> bool:
    """Tell whether a text is a folder as a plugin sees it: absolute, with no way up, not the root."""
    parts = text.split("/")
    return len(parts) > 1 and not parts[0] and all(p not in ("", ".", "..") and p.isprintable() for p in parts[1:])


def _near(word: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    found = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {found[0]!r}?" if found else f"known: {', '.join(known)}"


def _depth(value: Any) -> int:
    """Return how deep tables and lists are nested, without going down by calls: a stranger has written it."""
    levels, here = 0, [value]
    while here := [inner for one in here for inner in _inner(one)]:
        levels += 1
        if levels > DEPTH_MAX:
            break
    return levels


def _inner(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _not_json(value: Any, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in _not_json(inner, (*path, key))]
    if isinstance(value, list):
        return [found for inner in value for found in _not_json(inner, path)]
    good = isinstance(value, str | int) or (isinstance(value, float) and value - value == 0)
    return [] if good else [path]


def _invalid(what: str, shown: str, line: int = 1, column: int = 0) -> InvalidWorkflowError:
    return InvalidWorkflowError([Finding("error", CODE, what, "", Place(shown, line, column))])


def _unparsable(error: ValueError, shown: str, text: str) -> InvalidWorkflowError:
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", str(error), re.DOTALL)
    what = found[1] if found else str(error)
    line = int(found[2]) if found and found[2] else max(1, len(text.splitlines()))
    return _invalid(f"not valid TOML: {what}", shown, line, int(found[3]) if found and found[3] else 0)


__all__ = [
    "ENTRIES",
    "INTERFACE",
    "MANIFEST",
    "Capabilities",
    "Manifest",
    "WantedFolder",
    "is_file_name",
    "is_guest_folder",
]
