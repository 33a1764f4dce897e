"""Places in MariaDB's log: the last transaction of each domain, as the server writes them, `0-1-108,5-2-7`."""

from __future__ import annotations

from typing import NamedTuple, Self

from dataflare.errors import DataError


def malformed(what: str) -> DataError:
    """Return the error for bytes that are no log of MariaDB."""
    return DataError(f"the log of changes is malformed: {what}", hint="report it with the server's version")


class Gtid(NamedTuple):
    """A transaction: its domain, the server that made it, and its number, which grows within a domain."""

    domain: int
    server: int
    number: int

    def __str__(self) -> str:
        """Render as the server writes it."""
        return f"{self.domain}-{self.server}-{self.number}"


class Gtids(dict[int, Gtid]):
    """The last transaction by domain."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what the server wrote, or `str`; raise DataError for another text."""
        try:
            found = [Gtid(*map(int, part.strip().split("-"))) for part in text.split(",") if part.strip()]
        except (TypeError, ValueError):
            raise malformed(f"{text!r} is no place in it") from None
        return cls({gtid.domain: gtid for gtid in found})

    def __str__(self) -> str:
        """Render as the server writes it."""
        return ",".join(str(self[domain]) for domain in sorted(self))

    def number(self, domain: int) -> int:
        """Return the number of the last transaction of a domain; 0 where there is none."""
        return self[domain].number if domain in self else 0

    def reaches(self, other: Gtids) -> bool:
        """Tell whether all of another place is passed here."""
        return all(self.number(domain) >= gtid.number for domain, gtid in other.items())


class LogPlace(NamedTuple):
    """A place in the files of one server: behind which byte of which, and the second in which that was logged."""

    file: str
    byte: int
    second: int = 0

    @property
    def number(self) -> int:
        """The number of the file, which grows by one from file to file."""
        digits = self.file.rpartition(".")[2]
        return int(digits) if digits.isdigit() else 0


__all__ = ["Gtid", "Gtids", "LogPlace", "malformed"]
