"""Actors with bounded mailboxes and supervision; this room knows nothing of data."""
