"""The command line as a module: `python -m dataflare.cli`."""

from dataflare.cli.main import run

if __name__ == "__main__":
    run()
