"""The proof that nothing was lost: reads source and destination again, and names the rows that differ."""

from dataflare.operate.verifying.looks import Options, verify
from dataflare.operate.verifying.report import Difference, Report, Side

__all__ = ["Difference", "Options", "Report", "Side", "verify"]
