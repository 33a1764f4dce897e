"""A durable, bounded log of records: what comes once is kept here until it is committed."""

from dataflare.journal.group_commit import GroupCommit
from dataflare.journal.log import Journal, JournalFullError, Stretch

__all__ = ["GroupCommit", "Journal", "JournalFullError", "Stretch"]
