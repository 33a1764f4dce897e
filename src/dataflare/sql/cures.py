"""What helps where a table refuses rows, the same for every database."""

MADE_BY_TABLE = "the table makes the values of that column: leave it out in a mapping"
REFERENCES = (
    "write rows that others refer to before those, and take them away after; overwrite and delete_insert take rows "
    "away first, merge does not"
)

__all__ = ["MADE_BY_TABLE", "REFERENCES"]
