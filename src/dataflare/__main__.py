"""`python -m dataflare`: the command line where no script of it is on the path."""

from dataflare.cli.main import run

run()
