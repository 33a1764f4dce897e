"""Quotes identifiers, and the few literals that cannot be parameters; nothing else puts text into SQL."""

from __future__ import annotations

from dataflare.errors import WorkflowError


def quoted(name: str, bytes_max: int = 0, mark: str = '"') -> str:
    """Return an identifier in quotes: those of standard SQL (SQLite, PostgreSQL), or others.

    Raises WorkflowError for a name that no table or column can have: an empty one, one with a NUL, or one of more
    than `bytes_max` bytes, which the server would cut without a word (0: no limit).
    """
    if not name or "\0" in name:
        raise WorkflowError(f"{name!r} is no name of a table or column", hint="give it another name")
    if bytes_max and len(name.encode()) > bytes_max:
        raise WorkflowError(
            f"the name {name!r} is longer than {bytes_max} bytes, and the database would cut it",
            hint="give it a shorter name, with a mapping before the destination",
        )
    return mark + name.replace(mark, mark * 2) + mark


def literal(text: str) -> str:
    """Return a string literal, for the statements that take no parameters (COPY); needs standard_conforming_strings.

    Raises WorkflowError for a text with a NUL, which SQL text cannot hold.
    """
    if "\0" in text:
        raise WorkflowError("a text with a NUL character cannot be part of a statement", hint="remove the NUL")
    return "'" + text.replace("'", "''") + "'"


def split_name(text: str) -> tuple[str, str]:
    """Return (schema, table) of `schema.table` or `table`; parts may be in double quotes. The schema may be ""."""
    parts, part, inside = [], "", False
    for character in text:
        if character == '"':
            inside = not inside
        if character == "." and not inside:
            parts.append(part)
            part = ""
        else:
            part += character
    parts.append(part)
    plain = [p[1:-1].replace('""', '"') if len(p) > 1 and p[0] == p[-1] == '"' else p for p in parts]
    if len(plain) > 2 or not all(plain) or inside:  # noqa: PLR2004
        raise WorkflowError(f"{text!r} is not a table", hint='write schema.table, or "with.dot" in double quotes')
    return (plain[0], plain[1]) if len(plain) > 1 else ("", plain[0])


def written(schema: str, name: str) -> str:
    """Return a table as settings write it, which `split_name` reads."""
    parts = ['"' + p.replace('"', '""') + '"' if "." in p or '"' in p else p for p in (schema, name) if p]
    return ".".join(parts)
