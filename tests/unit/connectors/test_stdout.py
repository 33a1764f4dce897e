"""The stdout destination: JSON lines and tables."""

from __future__ import annotations

import subprocess
import sys

from dataflare.batch import Batch
from dataflare.connectors.stdout.destination import StdoutConfig, StdoutDestination
from dataflare.testing.destination_suite import SUITE_SCHEMA, rows
from dataflare.testing.stage import staged


def stdout(**config):
    made = staged(StdoutDestination(StdoutConfig(**config)), schemas={"0": SUITE_SCHEMA})
    made.open()
    return made


def test_rows_are_json_lines(capsysbinary):
    one = stdout()
    one.write(rows([1, 2]))
    one.write(rows([]))
    one.close()
    assert capsysbinary.readouterr().out == b'{"id":1,"name":"name 1"}\n{"id":2,"name":"name 2"}\n'


def test_a_table_is_aligned_and_has_one_header(capsys):
    one = stdout(format="table", width_max=6)
    one.write(Batch.of([{"id": 1, "name": "a long name"}, {"id": None, "name": "x\ny"}]))
    one.write(Batch.of([{"id": 22, "name": "z"}]))
    one.close()
    assert capsys.readouterr().out.splitlines() == [
        "id  name",
        "--  ------",
        "1   a lon…",
        "    x\\ny",
        "22  z",
    ]


WRITER = """
import sys
from dataflare.connectors.stdout.destination import StdoutConfig, StdoutDestination
from dataflare.errors import UnavailableError
from dataflare.testing.destination_suite import SUITE_SCHEMA, rows
from dataflare.testing.stage import staged

one = staged(StdoutDestination(StdoutConfig()), schemas={"0": SUITE_SCHEMA})
one.open()
sys.stdin.read()
try:
    one.write(rows([1]))
except UnavailableError as error:
    sys.stderr.write(str(error))
"""


def test_a_closed_pipe_is_told():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", WRITER], **pipes) as writer:
        writer.stdout.close()
        writer.stdin.close()
        told = writer.stderr.read().decode()
    assert "standard output is closed" in told
