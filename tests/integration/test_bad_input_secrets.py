"""A secret that a workflow refers to is in no output, log, dead letter or byte of the state, whatever goes wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.chaos.processes import Ended, dataflare, run

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = 'Corr"ect/h0rse b@ttery&$taple\\'
SHELF = '''
"""A source and a destination that tell their password wherever they can."""

import json
from urllib.parse import quote

from dataflare.batch import DataRecord
from dataflare.component import Config, DestinationConnector, Field, RecordSource, destination, source
from dataflare.errors import ExternalError
from dataflare.monitoring.events import Noticed


class ShelfConfig(Config):
    url: str = Field("", description="Where.")
    password: str = Field("", description="What for.")
    how: str = Field("", description="How it fails.")


def tell(connector):
    config, context = connector.config, connector.context
    if config.how == "inside":
        raise RuntimeError("wrong password: " + config.url.removeprefix("https://me:").removesuffix("@host/x"))
    context.emit(Noticed(context.workflow, "shelf.told", f"signed in with {config.password}", context.node))
    context.emit(Noticed(context.workflow, "shelf.told", "as " + quote(config.password, safe=""), context.node))
    if config.how == "foreign":
        raise RuntimeError(f"cannot sign in at {config.url} with password={config.password!r}")
    if config.how == "json":
        raise RuntimeError(json.dumps({"password": config.password}))
    if config.how == "own":
        raise ExternalError(f"no answer from {config.url}", hint=f"is {config.password} right?")
    if config.how == "system":
        raise FileNotFoundError(2, "No such file or directory", f"/run/{config.password}")


@source("shelf", replay="from")
class ShelfSource(RecordSource[ShelfConfig]):
    """Reads what is not there."""

    def declared(self):
        from dataflare.component import Stream
        from dataflare.schema import Schema

        return {"": Stream(Schema.of({"id": "int64"}))}

    def records(self, since):
        tell(self)
        for number in range(10):
            yield DataRecord({"id": number}), {"n": number + 1}


@destination("shelf", mechanisms=("append",))
class ShelfDestination(DestinationConnector[ShelfConfig]):
    """Keeps nothing."""

    def open(self):
        tell(self)

    def write(self, batch):
        pass
'''
POINTS = "[dataflare.source]\nshelf = shelf:ShelfSource\n[dataflare.destination]\nshelf = shelf:ShelfDestination\n"
WORKFLOW = """
id: secretive
runtime:
  checkpoint: {{interval: 50ms}}
  restart: {{initial: 10ms, attempts: 1}}
  state: {{type: sqlite, path: state}}
secrets:
  env: {{type: env, prefix: SHELF_}}
sources:
  {source}
destinations:
  {destination}
"""
SHELF_SOURCE = """taken: {{type: shelf, config: {{url: "https://me:${{secret:env/PASSWORD}}@host/x", \
password: "${{secret:env/PASSWORD}}", how: "{how}"}}}}"""
SHELF_DESTINATION = (
    """put: {{type: shelf, inputs: [taken], config: {{password: "${{secret:env/PASSWORD}}", how: "{how}"}}}}"""
)
FORMS = {
    PASSWORD,
    json.dumps(PASSWORD)[1:-1],
    repr(PASSWORD)[1:-1],
    "Corr%22ect",
    "h0rse",
    "b@ttery",
    "b%40ttery",
}


def attempt(folder: Path, how: str, *arguments: str, side: str = "source") -> Ended:
    """Run a workflow whose source, or destination, fails in a way of its own and tells its password."""
    (folder / "shelf.py").write_text(SHELF)
    (folder / "shelf-1.dist-info").mkdir(exist_ok=True)
    (folder / "shelf-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf\nVersion: 1\n")
    (folder / "shelf-1.dist-info" / "entry_points.txt").write_text(POINTS)
    source = (
        SHELF_SOURCE
        if side == "source"
        else "taken: {{type: generator, config: {{rows: 10, columns: {{id: sequence}}}}}}"
    )
    kept = (
        SHELF_DESTINATION
        if side != "source"
        else "put: {{type: file, inputs: [taken], config: {{path: out, format: jsonl}}}}"
    )
    text = WORKFLOW.format(source=source.format(how=how), destination=kept.format(how=how))
    (folder / "workflow.yaml").write_text(text)
    return run(folder, *arguments, environ=surroundings(folder))


def surroundings(folder: Path) -> dict[str, str]:
    return {"SHELF_PASSWORD": PASSWORD, "PYTHONPATH": str(folder)}


def hidden(*texts: str | bytes) -> None:
    """Assert that no text holds the secret, however it is written."""
    for text in texts:
        shown = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
        found = [form for form in FORMS if form in shown]
        assert not found, (found, shown)


def durable(folder: Path) -> list[bytes]:
    """Return the bytes of all that was written, the source of the test aside."""
    made = [p for name in ("state", "out") for p in (folder / name).rglob("*") if p.is_file()]
    assert made
    return [p.read_bytes() for p in made]


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("how", ["foreign", "json", "own", "system"])
def test_an_error_that_holds_the_secret_is_shown_without_it(tmp_path: Path, how: str, side: str) -> None:
    told = attempt(tmp_path, how, side=side)
    assert told.code in (1, 3)
    assert "***" in told.error["message"] + told.error["hint"]
    hidden(told.out, told.err, *durable(tmp_path))


def test_a_secret_inside_a_longer_setting_is_hidden_where_it_stands_alone(tmp_path: Path) -> None:
    attempt(tmp_path, "")
    file = tmp_path / "workflow.yaml"
    text = file.read_text().replace('password: "${secret:env/PASSWORD}", how: ""', "how: inside")
    assert text != file.read_text()
    file.write_text(text)
    told = run(tmp_path, environ=surroundings(tmp_path))
    assert told.code == 1
    assert "wrong password: ***" in told.error["message"]
    hidden(told.out, told.err, *durable(tmp_path))


def test_a_log_holds_no_secret(tmp_path: Path) -> None:
    told = attempt(tmp_path, "own", "--log", "json")
    assert "signed in with ***" in told.err
    hidden(told.out, told.err, *durable(tmp_path))


def test_text_for_people_holds_no_secret(tmp_path: Path) -> None:
    attempt(tmp_path, "own")
    told = dataflare(tmp_path, "run", "workflow.yaml", environ=surroundings(tmp_path))
    assert "signed in with ***" in told.err
    hidden(told.out, told.err)


def test_a_run_that_succeeds_leaves_no_secret_anywhere(tmp_path: Path) -> None:
    told = attempt(tmp_path, "")
    assert told.code == 0, told.err
    hidden(told.out, told.err, *durable(tmp_path))


@pytest.mark.parametrize(
    "command",
    ["validate workflow.yaml", "plan workflow.yaml", "plan workflow.yaml --picture p.svg", "status workflow.yaml",
     "checkpoint list workflow.yaml", "checkpoint show workflow.yaml 1", "checkpoint export workflow.yaml saved"],
)  # fmt: skip
def test_no_other_command_shows_the_secret(tmp_path: Path, command: str) -> None:
    assert attempt(tmp_path, "").code == 0
    for more in ([], ["--json"]):
        told = dataflare(tmp_path, *command.split(), *more, environ=surroundings(tmp_path))
        assert told.code == 0, told.err
        hidden(told.out, told.err)
    for name in ("p.svg", "saved"):
        if (tmp_path / name).exists():
            hidden((tmp_path / name).read_bytes())


def test_a_secret_that_is_not_there_is_named_by_its_reference(tmp_path: Path) -> None:
    attempt(tmp_path, "")
    told = run(tmp_path, environ={"PYTHONPATH": str(tmp_path)})
    assert told.code in (2, 3)
    assert "SHELF_PASSWORD" in told.error["message"] + told.error["hint"]
