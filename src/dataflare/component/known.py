"""Columns that a stream was planned with, as they are remembered from one plan to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class KnownColumn:
    """A column that a stream was planned with.

    `mark` is what the source tells it by, whatever its name is ("": nothing). `held`: the source has it no more, and it
    is null. `former` are the names that it had before.
    """

    name: str
    type: str
    mark: str = ""
    held: bool = False
    former: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what the state keeps."""
        told = {"mark": self.mark, "held": self.held, "former": list(self.former)}
        return {"name": self.name, "type": self.type, **{k: v for k, v in told.items() if v}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        former = tuple(value.get("former", ()))
        return cls(value["name"], value["type"], value.get("mark", ""), value.get("held", False), former)


Known = tuple[KnownColumn, ...]


__all__ = ["Known", "KnownColumn"]
