"""The tests of a plugin's folder: rows go through the processor as in a workflow, and what comes out is compared."""

from dataflare.testing.plugin_cases.cases import Case, read_cases, settings_of
from dataflare.testing.plugin_cases.comparing import Difference, compared
from dataflare.testing.plugin_cases.running import Ran, run_case
from dataflare.testing.plugin_cases.writing import write_expected

__all__ = ["Case", "Difference", "Ran", "compared", "read_cases", "run_case", "settings_of", "write_expected"]
