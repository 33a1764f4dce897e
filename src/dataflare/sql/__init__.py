"""What SQL connectors share: quoting, types, table definitions, write modes, epochs under a fence."""
