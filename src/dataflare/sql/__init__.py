"""What SQL connectors share: dialects, quoting, DDL and the statements of the write modes."""
