"""`dataflare plugin`: packages are made, signed, looked into, installed and removed."""

from __future__ import annotations

import json
import stat

import pytest
from tests.unit.plugin.folders import plugin_folder

from dataflare.cli.main import main

LIMITS = '[limits]\nmemory = "64MB"\ntimeout = "2s"\n'
ASKS = f'[settings.properties.rate]\ntype = "number"\n{LIMITS}[capabilities]\nclock = true\n'


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.delenv("DATAFLARE_PLUGINS", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    plugin_folder(tmp_path / "here" / "price")


@pytest.fixture
def run(capsys):
    """Return what runs a verb and gives its exit code, and what it said on stdout and stderr."""

    def run_(*arguments):
        code = main(["plugin", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_


@pytest.fixture
def told(run):
    """Return what runs a verb that succeeds and gives the JSON values that it prints."""

    def told_(*arguments):
        code, out, err = run(*arguments, "--json")
        assert (code, err) == (0, "")
        return [json.loads(line) for line in out.splitlines()]

    return told_


def trust(tmp_path, public, more=""):
    folder = tmp_path / "XDG_CONFIG_HOME" / "dataflare"
    folder.mkdir(parents=True)
    (folder / "trust.toml").write_text(f'[keys.shop]\npublic = "{public}"\n{more}', encoding="utf-8")


def test_a_plugin_is_packed_signed_installed_and_removed(run, told, tmp_path):
    assert run("pack", "price")[:2] == (0, "price-1.2.0.dfp: price@1.2.0, 5 files, 1,351 bytes, not signed\n")
    (key,) = told("sign", "--new-key", "shop.pem")
    trust(tmp_path, key["public_key"])
    (signed,) = told("sign", "price-1.2.0.dfp", "--key", "shop.pem")
    assert signed["signed"] is True
    assert run("install", "price-1.2.0.dfp") == (0, "installed price@1.2.0, signed by shop\n", "")
    (listed,) = told("list")
    assert listed == {
        "name": "price",
        "version": "1.2.0",
        "digest": signed["digest"],
        "signer": "shop",
        "key": key["public_key"],
        "granted": {"files": [], "env": [], "clock": False},
    }
    assert "price  1.2.0    signed by shop  -" in run("list")[1]
    assert run("remove", "price@1.2.0") == (0, "removed price@1.2.0\n", "")
    assert told("list") == []
    assert run("list")[1] == "no plugin is installed\n"


def test_a_package_may_be_signed_as_it_is_packed_and_goes_where_one_says(told, tmp_path):
    told("sign", "--new-key", "shop.pem")
    (first,) = told("pack", "price", "--key", "shop.pem", "--to", tmp_path)
    assert (first["package"], first["signed"]) == (str(tmp_path / "price-1.2.0.dfp"), True)
    assert stat.S_IMODE((tmp_path / "price-1.2.0.dfp").stat().st_mode) == 0o644


def test_a_new_key_is_told_as_it_is_written_into_the_policy(run, tmp_path):
    code, out, _ = run("sign", "--new-key", "shop.pem")
    assert code == 0
    assert '\n[keys.shop]\npublic = "ed25519:' in out
    assert "PRIVATE" not in out
    assert run("sign", "--new-key", "shop.pem")[0] == 2


@pytest.mark.parametrize("words", [(), ("--key", "k"), ("x.dfp",), ("x.dfp", "--key", "k", "--new-key", "n")])
def test_sign_is_told_what_to_do(run, words):
    code, _, err = run("sign", *words)
    assert code == 2
    assert "name a package and --key FILE, or --new-key FILE" in err


def test_an_install_that_is_refused_says_what_to_do(run):
    run("pack", "price")
    code, out, err = run("install", "price-1.2.0.dfp")
    assert (code, out) == (2, "")
    assert "error: the package is not signed\n  at price-1.2.0.dfp\n  hint: have it signed" in err
    assert run("install", "price-1.2.0.dfp", "--allow-unsigned")[:2] == (0, "installed price@1.2.0, not signed\n")


def test_switches_allow_another_key_and_other_content(run, tmp_path):
    run("sign", "--new-key", "a.pem")
    run("pack", "price", "--key", "a.pem")
    run("install", "price-1.2.0.dfp", "--allow-unsigned")
    plugin_folder(tmp_path / "other", code="export const process = () => null;")
    run("pack", tmp_path / "other")
    assert "is installed with other content" in run("install", "price-1.2.0.dfp", "--allow-unsigned")[2]
    assert "it is signed by nobody" in run("install", "price-1.2.0.dfp", "--allow-unsigned", "--replace")[2]
    assert run("install", "price-1.2.0.dfp", "--allow-unsigned", "--replace", "--allow-other-key")[0] == 0


def test_grants_are_listed_without_texts_of_variables(run, told, tmp_path):
    plugin_folder(
        tmp_path / "asks", "asks", more='[capabilities]\nenv = ["A", "B"]\nclock = true\nfiles = [{path = "/x"}]\n'
    )
    run("pack", tmp_path / "asks")
    words = ("--grant", "env=A=secret", "--grant", "env=B", "--grant", "clock")
    code, _, err = run("install", "asks-1.2.0.dfp", "--allow-unsigned", *words)
    assert (code, "hint: if it may have that: --grant files=FOLDER:/x:ro" in err) == (2, True)
    run("install", "asks-1.2.0.dfp", "--allow-unsigned", *words, "--grant", f"files={tmp_path}/asks:/x")
    (listed,) = told("list")
    folder = {"path": str(tmp_path / "asks"), "at": "/x", "write": False}
    assert listed["granted"] == {"files": [folder], "env": ["A", "B"], "clock": True}
    (inspected,) = told("inspect", "asks")
    assert inspected["granted"] == listed["granted"]
    assert "secret" not in run("list")[1] + run("inspect", "asks")[1]


# ---- inspect --------------------------------------------------------------------------------------------------------


def test_a_package_is_told_with_hashes_and_whether_it_is_trusted(run, told, tmp_path):
    plugin_folder(tmp_path / "asks", "asks", more=ASKS)
    (packed,) = told("pack", tmp_path / "asks")
    (found,) = told("inspect", "asks-1.2.0.dfp")
    assert found["signature"] == {"signed": False, "trusted": False, "why": "the package is not signed"}
    assert found["limits"] == {"memory_bytes_max": 64_000_000, "seconds_max": 2.0}
    assert found["settings"] == {"properties": {"rate": {"type": "number"}}}
    assert (found["asks_for"], found["digest"], found["interface"]) == ({"clock": True}, packed["digest"], 1)
    assert [file["name"] for file in found["files"]][:2] == ["plugin.toml", "asks.js"]
    (key,) = told("sign", "--new-key", "shop.pem")
    run("sign", "asks-1.2.0.dfp", "--key", "shop.pem")
    (found,) = told("inspect", "asks-1.2.0.dfp")
    assert found["signature"]["key"] == key["public_key"]
    assert (found["signature"]["trusted"], "not trusted here" in found["signature"]["why"]) == (False, True)
    trust(tmp_path, key["public_key"])
    (found,) = told("inspect", "asks-1.2.0.dfp")
    assert found["signature"]["trusted"] is True
    assert found["signature"]["signer"] == "shop"
    lines = run("inspect", "asks-1.2.0.dfp")[1]
    assert "name         asks\n" in lines
    assert "\n             trusted: true\n" in lines


def test_a_file_that_runs_says_of_itself_what_it_can(run, told, tmp_path):
    (found,) = told("inspect", "price/price.js")
    assert (found["name"], found["stateful"], found["bytes"]) == ("price", False, 75)
    (tmp_path / "needs.js").write_text("export const open = ({ a }) => a.b.c; export const process = (r) => r;")
    (found,) = told("inspect", tmp_path / "needs.js")
    assert "says_nothing_of_itself" in found
    assert run("inspect", "price")[1].startswith("name         price\n")


def test_what_is_nowhere_is_told(run):
    assert "no plugin nothing is installed" in run("inspect", "nothing")[2]
    assert run("inspect", "nothing.dfp")[0] == 3


def test_what_a_stranger_has_written_moves_no_cursor(run, tmp_path):
    plugin_folder(tmp_path / "evil", "evil", more='[settings.properties]\n"\\u009b2J" = { title = "\\u202ex" }\n')
    run("pack", tmp_path / "evil")
    out = run("inspect", "evil-1.2.0.dfp")[1]
    assert "\ufffd2J" in out
    assert not {"\x9b", "\u202e"} & set(out)
    run("publish", "evil-1.2.0.dfp", "--to", "shared")
    index = tmp_path / "here" / "shared" / "index.json"
    index.write_text(index.read_text().replace("Adds a total", "\\u009b2J"))
    assert "\ufffd2J" in run("list", "--from", "shared")[1]


# ---- repositories ---------------------------------------------------------------------------------------------------


def test_a_package_goes_by_way_of_a_repository(run, told, tmp_path):
    run("pack", "price")
    assert run("publish", "price-1.2.0.dfp", "--to", "shared") == (0, "price@1.2.0 is published in shared\n", "")
    assert told("publish", "price-1.2.0.dfp", "--to", "shared")[0]["new"] is False
    (listed,) = told("list", "--from", "shared")
    assert (listed["name"], listed["version"], listed["description"]) == ("price", "1.2.0", "Adds a total")
    assert "price  1.2.0    1,351  Adds a total" in run("list", "--from", "shared")[1]
    assert "the package is not signed" in run("install", "price", "--from", "shared")[2]
    for reference in ("price", "price@1.2.0"):
        assert run("install", reference, "--from", "shared", "--allow-unsigned")[0] == 0
    code, _, err = run("install", "price@2.0.0", "--from", "shared", "--allow-unsigned")
    assert (code, "hint: there are versions 1.2.0" in err) == (3, True)
    assert run("list", "--from", "empty")[1] == "no plugin is published there\n"


@pytest.mark.parametrize("verb", [("install", "../evil", "--from", "shared"), ("remove", "price@1")])
def test_a_name_is_a_name(run, verb):
    code, _, err = run(*verb)
    assert (code, "is no plugin" in err) == (2, True)
