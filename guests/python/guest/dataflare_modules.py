"""The modules that a plugin may import: they are read while the component is built, as there are no files later."""

import importlib
import io
import sys
from importlib.machinery import ModuleSpec
from typing import Any, NoReturn

import dataflare_zones

NAMES = [
    "__future__",
    "abc",
    "array",
    "ast",
    "base64",
    "binascii",
    "bisect",
    "calendar",
    "cmath",
    "codecs",
    "collections",
    "collections.abc",
    "colorsys",
    "contextlib",
    "contextvars",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "email.utils",
    "enum",
    "errno",
    "fnmatch",
    "fractions",
    "functools",
    "gc",
    "graphlib",
    "hashlib",
    "heapq",
    "hmac",
    "html",
    "html.entities",
    "html.parser",
    "http",
    "io",
    "ipaddress",
    "itertools",
    "json",
    "keyword",
    "logging",
    "math",
    "numbers",
    "operator",
    "os",
    "os.path",
    "pathlib",
    "pprint",
    "queue",
    "quopri",
    "random",
    "re",
    "reprlib",
    "secrets",
    "shlex",
    "statistics",
    "string",
    "string.templatelib",
    "stringprep",
    "struct",
    "sys",
    "textwrap",
    "time",
    "tomllib",
    "traceback",
    "types",
    "typing",
    "unicodedata",
    "urllib.parse",
    "uuid",
    "warnings",
    "weakref",
    "xml.etree.ElementTree",
    "xml.sax.saxutils",
    "zlib",
    "zoneinfo",
]
"""Of the standard library."""

for _name in NAMES:
    importlib.import_module(_name)


class _NoMore:
    """The last one that is asked for a module."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Say what there is instead."""
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names:
            why = "this part of the standard library is left out, as a plugin may not do what it does"
        else:
            why = "a plugin is one file, beside which there is the standard library alone"
        raise ModuleNotFoundError(f"there is no module {name!r} in here: {why}", name=name)


def close_the_door() -> None:
    """Find no other modules from now on."""
    sys.path.clear()
    sys.path_importer_cache.clear()
    if not any(isinstance(one, _NoMore) for one in sys.meta_path):
        sys.meta_path.append(_NoMore())


def refuse_to_wait(seconds: float) -> NoReturn:
    """Refuse: a call that waits cannot be stopped."""
    raise PermissionError("a plugin may not wait")


def _zone(key: str) -> io.BytesIO:
    if key not in dataflare_zones.ZONES:
        import zoneinfo

        raise zoneinfo.ZoneInfoNotFoundError(f"there is no time zone {key!r}")
    return io.BytesIO(dataflare_zones.ZONES[key])


def _give_zones() -> None:
    import zoneinfo

    common = sys.modules["zoneinfo._common"]
    common.load_tzdata = _zone
    zoneinfo.available_timezones = lambda: set(dataflare_zones.ZONES)


_give_zones()
