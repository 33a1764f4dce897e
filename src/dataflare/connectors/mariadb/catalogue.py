"""The questions to the server's catalogue; parameters stand between two NUL characters, as in all statements."""

from __future__ import annotations

COLUMNS = (
    "select column_name, column_type from information_schema.columns "
    "where table_schema = \x001\x00 and table_name = \x002\x00 order by ordinal_position"
)
DEFINITIONS = (
    "select column_name, column_type, is_nullable = 'NO', column_key = 'PRI', extra like '%GENERATED%' "
    "from information_schema.columns "
    "where table_schema = \x001\x00 and table_name = \x002\x00 order by ordinal_position"
)
COLLATIONS = (
    "select column_name, collation_name from information_schema.columns "
    "where table_schema = \x001\x00 and table_name = \x002\x00 and collation_name is not null"
)
JSON_CHECKS = (
    "select check_clause from information_schema.check_constraints "
    "where constraint_schema = \x001\x00 and table_name = \x002\x00 and check_clause like 'json_valid(%'"
)
TABLES = (
    "select table_name from information_schema.tables where table_schema = \x001\x00 "
    "and left(table_name, char_length(\x002\x00)) = \x002\x00 and table_type = 'BASE TABLE' order by 1"
)
FACTS = (
    "select engine, table_rows from information_schema.tables where table_schema = \x001\x00 and table_name = \x002\x00"
)
"""The engine (null: a view), and about how many rows there are."""
UNIQUE = (
    "select index_name, column_name, sub_part from information_schema.statistics "
    "where table_schema = \x001\x00 and table_name = \x002\x00 and non_unique = 0 order by index_name, seq_in_index"
)
FOLLOWED = (
    "select table_schema, table_name, table_type, engine from information_schema.tables "
    "where table_schema = \x001\x00 and table_name = \x002\x00"
)
COMPUTED = (
    "select column_name from information_schema.columns where table_schema = \x001\x00 and table_name = \x002\x00 "
    "and is_generated <> 'NEVER'"
)
"""The columns that are computed: the log does not always have them."""
CASCADES = (
    "select constraint_name from information_schema.referential_constraints where constraint_schema = \x001\x00 "
    "and table_name = \x002\x00 and (delete_rule not in ('RESTRICT', 'NO ACTION') "
    "or update_rule not in ('RESTRICT', 'NO ACTION'))"
)
"""The foreign keys by which rows of a table change without a statement."""
CHARSET = "select character_set_name from information_schema.collation_character_set_applicability where id = \x001\x00"
LETTERS_MAX = "select maxlen from information_schema.character_sets where character_set_name = \x001\x00"
"""How many bytes a letter has at most."""
LOCK, UNLOCK = "select get_lock(\x001\x00, \x002\x00)", "select release_lock(\x001\x00)"

__all__ = [
    "CASCADES",
    "CHARSET",
    "COLLATIONS",
    "COLUMNS",
    "COMPUTED",
    "DEFINITIONS",
    "FACTS",
    "FOLLOWED",
    "JSON_CHECKS",
    "LETTERS_MAX",
    "LOCK",
    "TABLES",
    "UNIQUE",
    "UNLOCK",
]
