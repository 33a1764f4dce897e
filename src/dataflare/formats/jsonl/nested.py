"""JSON texts as values of lists, structs and maps: what databases without such types keep of them."""

from __future__ import annotations

from contextlib import closing

import pyarrow as pa

from dataflare.errors import DataError
from dataflare.formats.jsonl.decode import JsonlDecoder
from dataflare.schema import Schema, arrow_type


def nested_values(texts: pa.Array, text: str, name: str) -> pa.Array:
    """Return JSON texts as values of a nested type, null for null.

    Raises DataError, which names the column, for a text that is no such value, and WorkflowError for a type that JSON
    cannot hold.
    """
    texts = texts.cast(pa.string())
    found = _decoded(texts, text)
    if found is None and "decimal" in text:  # of numbers, that reader is sure of 15 digits only; of texts, of all
        found = _decoded(_with_digits(texts), text)
    if found is None:
        raise DataError(
            f"a value of {name} is no {text}",
            hint=f"say what the column holds, such as types: {{{name.rpartition('.')[2]}: string}}",
        )
    return found


def _decoded(texts: pa.Array, text: str) -> pa.Array | None:
    import pyarrow.compute as pc

    plain = pc.replace_substring(texts, "\n", " ")  # inside of JSON strings there is none
    lines = pc.binary_join_element_wise('{"v":', pc.fill_null(plain, "null"), "}\n", "")
    with closing(JsonlDecoder(Schema.of({"v": text}))) as decoder:
        found = decoder.decode("".join(lines.to_pylist()).encode())
    if found.rejected or found.rows.num_rows != len(texts):
        return None
    kind = arrow_type(text)
    column = pa.concat_arrays(found.rows.column("v").chunks) if len(texts) else pa.nulls(0, kind)
    return column if column.type.equals(kind) else column.cast(kind)


def _with_digits(texts: pa.Array) -> pa.Array:
    """Return the texts with fractions in quotes; those that are no JSON as they are."""
    import msgspec

    decode, encode = msgspec.json.Decoder(float_hook=str).decode, msgspec.json.encode

    def one(text: str | None) -> str | None:
        try:
            return text if text is None else encode(decode(text)).decode()
        except msgspec.MsgspecError:
            return text

    return pa.array([one(t) for t in texts.to_pylist()], pa.string())


__all__ = ["nested_values"]
