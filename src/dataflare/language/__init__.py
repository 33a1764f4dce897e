"""The language in which findings are told: English, or Chinese from one catalogue of what the code says.

The code says it in English, once, where it finds it. A message in another language is made from that at the border to
people, by the template that fits; what has no template stays as it is. So a component of anybody needs to know nothing
of languages, and codes, places and names are the same in all of them.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dataflare.errors import Finding

ENGLISH, CHINESE = "en", "zh"
VARIABLE = "DATAFLARE_LANG"
_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")
_PART = re.compile(r"\{\{|\}\}|\{(\w+)\}")
_BEGIN = re.compile(r"([\w.\[\]-]+): (.+)", re.DOTALL)


def language_of(environ: Mapping[str, str]) -> str:
    """Return `zh` where `DATAFLARE_LANG` (else the locale of the system) begins with it, and `en` otherwise."""
    names = (VARIABLE,) if environ.get(VARIABLE) else _LOCALE
    wanted = next((environ[name] for name in names if environ.get(name)), "")
    return CHINESE if wanted.lower().startswith(CHINESE) else ENGLISH


def translated(finding: Finding, language: str) -> Finding:
    """Return the finding as it is told in a language; code and place stay."""
    if language == ENGLISH:
        return finding
    catalogue = _catalogue(language)
    return replace(finding, message=catalogue.message(finding.message), hint=catalogue.hint(finding.hint))


def word(text: str, language: str) -> str:
    """Return a word that stands beside findings, such as `error`."""
    return text if language == ENGLISH else _catalogue(language).words.get(text, text)


@dataclass(frozen=True, slots=True)
class Template:
    """What the code says, and how it is told; both have the same parts."""

    english: str
    other: str

    @property
    def pattern(self) -> re.Pattern[str]:
        """What texts of this template look like."""
        parts, at = [], 0
        seen: set[str] = set()
        for found in _PART.finditer(self.english):
            parts.append(re.escape(self.english[at : found.start()]))
            at = found.end()
            name = found[1]
            parts.append(
                re.escape(found[0][0]) if name is None else f"(?P={name})" if name in seen else f"(?P<{name}>.*?)"
            )
            seen |= {name} if name else set()
        return re.compile("".join([*parts, re.escape(self.english[at:])]), re.DOTALL)

    @property
    def literal(self) -> int:
        """How many characters are the same in all texts of this template."""
        return len(_PART.sub("", self.english))

    @property
    def names(self) -> list[str]:
        """What its parts are called, each once."""
        return list(dict.fromkeys(m[1] for m in _PART.finditer(self.english) if m[1]))

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the other text with the parts put in."""
        return _PART.sub(lambda m: values[m[1]] if m[1] else m[0][0], self.other)


class Catalogue:
    """All templates of one language, the most particular first."""

    def __init__(self, messages: Iterable[Template], hints: Iterable[Template], words: Mapping[str, str]) -> None:
        """Compile them."""
        self._messages, self._hints = _compiled(messages), _compiled(hints)
        self.words = words

    def message(self, text: str) -> str:
        """Tell the first line of a message, with or without the node or the key that it begins with."""
        line, newline, rest = text.partition("\n")
        return f"{self._line(line)[1]}{newline}{rest}"

    def _line(self, line: str) -> tuple[int, str]:
        """Return the line as it is told, and how well the template fits; 0 where there is none."""
        fit, found = _told(line, self._messages)
        begin = _BEGIN.fullmatch(line)
        if begin:
            better, rest = self._line(begin[2])
            if better and better >= fit:  # what stands before it is no part of a template, but a node or a key
                return better, f"{begin[1]}: {rest}"
        return fit, found

    def hint(self, text: str) -> str:
        """Tell a hint."""
        return _told(text, self._hints)[1]


def _compiled(templates: Iterable[Template]) -> list[tuple[re.Pattern[str], Template]]:
    return [(t.pattern, t) for t in sorted(templates, key=lambda t: -t.literal)]


def _told(text: str, templates: list[tuple[re.Pattern[str], Template]]) -> tuple[int, str]:
    for pattern, template in templates:
        if found := pattern.fullmatch(text):
            return template.literal, template.fill(found.groupdict())
    return 0, text


def texts(language: str) -> dict[str, dict[str, str]]:
    """Return the catalogue as it is written: messages, hints and words by what the code says."""
    return tomllib.loads(files("dataflare.language").joinpath(f"{language}.toml").read_text(encoding="utf-8"))


@cache
def _catalogue(language: str) -> Catalogue:
    found = texts(language)
    messages, hints = (
        [Template(english, other) for english, other in found[name].items()] for name in ("messages", "hints")
    )
    return Catalogue(messages, hints, found["words"])


__all__ = ["CHINESE", "ENGLISH", "VARIABLE", "Catalogue", "Template", "language_of", "texts", "translated", "word"]
