"""Installing and finding plugins: trust, what code reaches for, grants, keys that change, what a reference means."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.plugin.folders import CODE, plugin_folder
from tests.unit.plugin.test_core_modules import module

from dataflare.errors import InvalidWorkflowError, StateError, UnavailableError, WorkflowError
from dataflare.plugin.allowance import Allowance
from dataflare.plugin.grants import GrantedFolder, Grants
from dataflare.plugin.host import QuietHost
from dataflare.plugin.limits import Limits
from dataflare.plugin.manager import InstallOptions, PluginManager, ResolvedPlugin, permitted
from dataflare.plugin.package import Package
from dataflare.plugin.program import Settings
from dataflare.plugin.reach import reach_of
from dataflare.plugin.registry import PluginRegistry
from dataflare.plugin.signature import SigningKey
from dataflare.plugin.trust import TrustedKey, TrustPolicy

ASKS = (
    '[capabilities]\nfiles = [{ path = "/rates" }, { path = "/out", write = true }]\nenv = ["REGION"]\nclock = true\n'
)
UNSIGNED = InstallOptions(unsigned=True)


@pytest.fixture
def data(tmp_path):
    """Return a folder that may be granted."""
    (tmp_path / "data" / "inner").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    return tmp_path / "data"


@pytest.fixture
def registry(tmp_path):
    return PluginRegistry(tmp_path / "plugins")


@pytest.fixture
def manager(registry):
    return PluginManager(registry)


@pytest.fixture
def packed(tmp_path):
    """Return what packs a plugin, of a module where one is given."""

    def pack(version="1.2.0", *, name="price", wasm: bytes | None = None, **more):
        folder = plugin_folder(tmp_path / f"{len(list(tmp_path.iterdir()))}", name, version, **more)
        if wasm is not None:
            text = (folder / "plugin.toml").read_text(encoding="utf-8")
            text = text.replace("javascript", "c").replace(f"{name}.js", f"{name}.wasm")
            (folder / "plugin.toml").write_text(text, encoding="utf-8")
            (folder / f"{name}.wasm").write_bytes(wasm)
        return Package.of_folder(folder, f"{name}-{version}.dfp")

    return pack


@pytest.fixture
def keys(tmp_path):
    return [SigningKey.new(tmp_path / f"{name}.pem") for name in ("first", "second")]


@pytest.fixture
def policy(keys):
    return TrustPolicy(keys=tuple(TrustedKey(n, k.public) for n, k in zip(("first", "second"), keys, strict=True)))


def options(*words: str, **more) -> InstallOptions:
    return InstallOptions(Allowance.of_words(words), unsigned=True, **more)


def processed(resolved, record: str) -> str:
    program = resolved.program
    with program.engine.ticking():
        instance = program.opened(Settings(), QuietHost(), Limits())
        return instance.call("process", record)[1]


# ---- installing -----------------------------------------------------------------------------------------------------


def test_an_installed_plugin_runs(manager, packed, keys, policy, engine):
    made = manager.install(keys[0].sign(packed()), policy, InstallOptions(), engine)
    assert (made.reference, made.signer, made.key) == ("price@1.2.0", "first", str(keys[0].public))
    resolved = manager.resolve("price", engine)
    assert resolved.manifest.reference == "price@1.2.0"
    assert processed(resolved, '{"amount":2}') == '{"amount":2,"total":4}'


def test_what_is_not_trusted_is_not_installed(manager, registry, packed, policy, engine):
    with pytest.raises(WorkflowError, match="the package is not signed"):
        manager.install(packed(), policy, InstallOptions(), engine)
    assert registry.all() == []


def test_code_that_is_none_is_not_installed(manager, registry, packed, engine):
    for broken in (packed(code="export const process = (;"), packed(wasm=b"\0asm\x01\0\0\0evil"), packed(wasm=b"")):
        with pytest.raises(WorkflowError):
            manager.install(broken, TrustPolicy(), UNSIGNED, engine)
    assert registry.all() == []


def test_none_of_the_code_runs_while_it_is_installed(manager, packed, engine):
    manager.install(packed(code="throw new Error('it ran');"), TrustPolicy(), UNSIGNED, engine)
    with pytest.raises(WorkflowError, match="it ran"):
        processed(manager.resolve("price", engine), "{}")


def test_code_that_reaches_for_more_than_its_manifest_says_is_refused(manager, registry, packed, engine):
    opens = packed(wasm=module())  # it imports path_open
    with pytest.raises(WorkflowError, match=r"the code opens files, and plugin.toml does not ask for any") as raised:
        manager.install(opens, TrustPolicy(), UNSIGNED, engine)
    assert str(raised.value.place) == "price-1.2.0.dfp"
    assert registry.all() == []


def test_code_that_says_what_it_reaches_for_is_installed(manager, packed, engine, data):
    asks = packed(wasm=module(), more='[capabilities]\nfiles = [{ path = "/rates" }]\n')
    manager.install(asks, TrustPolicy(), options(f"files={data}:/rates:ro"), engine)


@pytest.mark.parametrize(
    ("imports", "why"),
    [
        ('(import "wasi_snapshot_preview1" "sock_send" (func (param i32) (result i32)))', "reaches for a network"),
        ('(import "env" "system" (func (param i32) (result i32)))', "imports env, which no host of this version has"),
        ('(import "dataflare:plugin/host@1.0.0" "log" (func))', ""),
        ('(import "wasi_snapshot_preview1" "environ_get" (func (param i32 i32) (result i32)))', ""),
    ],
)
def test_no_plugin_reaches_for_a_network_or_for_what_nobody_offers(packed, engine, imports, why):
    interfaces = (
        '(func (export "dataflare:plugin/lifecycle@1.0.0#open")) (func (export "dataflare:plugin/processor@1.0.0#x"))'
    )
    from wasmtime import wat2wasm

    from dataflare.plugin.program import Program

    program = Program.of(bytes(wat2wasm(f"(module {imports} {interfaces})")), ".wasm", engine, "x.wasm")
    if not why:
        reach_of(program).check(packed().manifest)
        return
    with pytest.raises(WorkflowError, match=why):
        reach_of(program).check(packed().manifest)


def test_what_exports_no_plugin_is_refused(manager, packed, engine):
    from wasmtime import wat2wasm

    with pytest.raises(WorkflowError, match="the plugin exports no dataflare:plugin/lifecycle"):
        manager.install(packed(wasm=bytes(wat2wasm("(module)"))), TrustPolicy(), UNSIGNED, engine)


def test_a_component_tells_what_it_reaches_for(engine):
    from dataflare.plugin.program import Program

    found = reach_of(Program("javascript", engine, engine.shipped("javascript")))
    assert found.capabilities == {"env", "clock"}
    assert found.imports["wasi:cli/environment@0.2.12"] == ("get-environment",)
    assert any(name.startswith("dataflare:plugin/lifecycle@1.") for name in found.exports)


# ---- grants ---------------------------------------------------------------------------------------------------------


def test_what_a_plugin_asks_for_is_granted_by_name_or_it_is_not_installed(manager, registry, packed, engine, data):
    asking = packed(more=ASKS)
    with pytest.raises(WorkflowError) as raised:
        manager.install(asking, TrustPolicy(), options(f"files={data.parent}/out:/out:ro"), engine)
    assert raised.value.hint == (
        "if it may have that: --grant files=FOLDER:/rates:ro --grant files=FOLDER:/out:rw --grant env=REGION "
        "--grant clock"
    )
    assert registry.all() == []
    words = f"files={data}:/rates", f"files={data.parent}/out:/out:rw", "env=REGION=eu", "clock"
    manager.install(asking, TrustPolicy(), options(*words), engine)
    assert manager.resolve("price", engine).allowance == Allowance(
        (GrantedFolder(str(data), "/rates"), GrantedFolder(str(data.parent / "out"), "/out", write=True)),
        {"REGION": "eu"},
        clock=True,
    )


@pytest.mark.parametrize("more", ["files={}:/etc", "files={}:/rates:rw", "env=HOME"])
def test_nothing_is_granted_that_a_plugin_does_not_ask_for(manager, packed, engine, data, more):
    words = f"files={data}:/rates:ro", f"files={data.parent}/out:/out:rw", "env=REGION", "clock"
    words = [w for w in words if w.partition(":")[2][:4] != more.partition(":")[2][:4]] + [more.format(data)]
    with pytest.raises(WorkflowError, match="price does not ask for what is granted"):
        manager.install(packed(more=ASKS), TrustPolicy(), options(*words), engine)
    with pytest.raises(WorkflowError, match="does not ask for what is granted: clock"):
        manager.install(packed(), TrustPolicy(), options("clock"), engine)


@pytest.mark.parametrize(
    "word", ["", "clocks", "clock=1", "files", "files=/rates", "files=:/rates", "files=.:rates", "files=.:/", "env=",
             "env=A-B", "network"],
)  # fmt: skip
def test_a_grant_is_written_in_one_of_few_ways(word):
    with pytest.raises(WorkflowError, match="cannot be granted"):
        Allowance.of_words([word])


def test_a_granted_folder_is_there_and_meant_by_its_real_path(tmp_path):
    (tmp_path / "a:b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a:b")
    granted = Allowance.of_words([f"files={tmp_path}/link:/x", f"files={tmp_path}/a:b:/y:rw"])
    real = str(tmp_path / "a:b")
    assert granted.files == (GrantedFolder(real, "/x"), GrantedFolder(real, "/y", write=True))
    with pytest.raises(WorkflowError, match="there is no folder"):
        Allowance.of_words([f"files={tmp_path}/none:/x"])
    with pytest.raises(WorkflowError, match="two folders are granted at /x"):
        Allowance.of_words([f"files={tmp_path}:/x", f"files={tmp_path}:/x"])


def test_places_by_which_others_decide_are_not_granted(manager, registry, packed, engine, tmp_path):
    asks = packed(more='[capabilities]\nfiles = [{ path = "/rates" }]\n')
    registry.folder.mkdir(mode=0o700)
    for folder in (registry.folder, tmp_path, "/proc", "/"):
        with pytest.raises(WorkflowError, match="cannot be granted"):
            manager.install(asks, TrustPolicy(), options(f"files={folder}:/rates:ro"), engine)
    assert registry.all() == []


@pytest.mark.parametrize(
    ("grants", "more"),
    [
        (Grants((GrantedFolder("data", "/rates"),)), []),
        (Grants((GrantedFolder("data/inner", "/rates"),)), []),
        (Grants((GrantedFolder("data", "/out", write=True),), {"A": "any", "B": "b"}), []),
        (Grants((GrantedFolder("data", "/rates", write=True),)), ["data at /rates to be written"]),
        (Grants((GrantedFolder("data", "/other"),)), ["data at /other"]),
        (Grants((GrantedFolder("other", "/rates"),)), ["other at /rates"]),
        (Grants((GrantedFolder("data2", "/rates"),)), ["data2 at /rates"]),
        (Grants(env={"B": "c"}), ["env B with this text"]),
        (Grants(env={"C": ""}), ["env C"]),
        (Grants(clock=True), ["clock"]),
    ],
)
def test_a_workflow_grants_no_more_than_the_install_did(grants, more):
    files = GrantedFolder("data", "/rates"), GrantedFolder("data", "/out", write=True)
    assert Allowance(files, {"A": None, "B": "b"}).exceeded(grants) == more


def test_what_a_workflow_grants_is_what_the_plugin_asks_for(manager, packed, engine, data):
    asking = packed(more=ASKS)
    words = f"files={data}:/rates", f"files={data.parent}/out:/out:rw", "env=REGION", "clock"
    manager.install(asking, TrustPolicy(), options(*words), engine)
    resolved = manager.resolve("price", engine)
    whole = Grants(
        (GrantedFolder(str(data / "inner"), "/rates"), GrantedFolder(str(data.parent / "out"), "/out", write=True)),
        {"REGION": "eu"},
        clock=True,
    )
    assert permitted(whole, resolved) == whole
    with pytest.raises(WorkflowError, match=r"price@1.2.0 asks for what the workflow does not grant: env=REGION"):
        permitted(replace(whole, env={}), resolved)
    with pytest.raises(WorkflowError, match=r"price@1.2.0 was installed without a grant of env HOME"):
        permitted(replace(whole, env={"REGION": "eu", "HOME": "x"}), resolved)
    with pytest.raises(WorkflowError, match="does not ask for what is granted: env HOME"):
        permitted(replace(whole, env={"REGION": "eu", "HOME": "x"}), replace(resolved, allowance=None))
    assert permitted(whole, ResolvedPlugin(resolved.program)) == whole


def test_an_entry_that_was_given_more_afterwards_is_refused(manager, registry, packed, engine):
    manager.install(packed(), TrustPolicy(), UNSIGNED, engine)
    path = registry.folder / "registry.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"clock": false', '"clock": true'), encoding="utf-8")
    with pytest.raises(StateError, match=r"price@1.2.0 was granted more than it asks for"):
        manager.resolve("price", engine)


# ---- other keys, other content --------------------------------------------------------------------------------------


def test_a_plugin_is_not_replaced_by_one_of_another_key_unless_that_is_said(manager, packed, keys, policy, engine):
    manager.install(keys[0].sign(packed()), policy, InstallOptions(), engine)
    next_one = packed("1.3.0")
    for other, why in ((keys[1].sign(next_one), "it is signed by the key"), (next_one, "it is signed by nobody")):
        with pytest.raises(WorkflowError, match=f"^price-1.3.0.dfp: {why}") as raised:
            manager.install(other, policy, UNSIGNED, engine)
        assert f"versions of price that are installed by {keys[0].public}" in raised.value.what
    manager.install(keys[1].sign(next_one), policy, InstallOptions(other_key=True), engine)
    manager.install(keys[0].sign(packed(name="rates")), policy, InstallOptions(), engine)


def test_a_plugin_without_a_signature_may_get_one(manager, packed, keys, policy, engine):
    manager.install(packed(), policy, UNSIGNED, engine)
    manager.install(keys[0].sign(packed()), policy, InstallOptions(), engine)
    with pytest.raises(WorkflowError, match="it is signed by nobody"):
        manager.install(packed(), policy, UNSIGNED, engine)


def test_a_version_keeps_its_content_unless_that_is_said(manager, packed, engine):
    manager.install(packed(), TrustPolicy(), UNSIGNED, engine)
    manager.install(packed(), TrustPolicy(), UNSIGNED, engine)
    other = packed(code=CODE.replace("2", "3"))
    with pytest.raises(WorkflowError, match=r"price@1.2.0 is installed with other content"):
        manager.install(other, TrustPolicy(), UNSIGNED, engine)
    assert processed(manager.resolve("price", engine), '{"amount":2}') == '{"amount":2,"total":4}'
    manager.install(other, TrustPolicy(), InstallOptions(unsigned=True, replaced=True), engine)
    assert processed(manager.resolve("price", engine), '{"amount":2}') == '{"amount":2,"total":6}'


def test_a_plugin_that_is_replaced_while_it_is_looked_up_is_the_new_one(manager, registry, packed, engine, monkeypatch):
    manager.install(packed(), TrustPolicy(), UNSIGNED, engine)
    other = packed(code=CODE.replace("2", "3"))
    find = registry.find
    replacing = [InstallOptions(unsigned=True, replaced=True)]

    def found(*wanted):
        installed = find(*wanted)
        if replacing:
            manager.install(other, TrustPolicy(), replacing.pop(), engine)
        return installed

    monkeypatch.setattr(registry, "find", found)
    assert manager.resolve("price", engine).digest == other.digest


def test_an_install_that_is_repeated_grants_anew(manager, packed, engine, data):
    asks = packed(more='[capabilities]\nfiles = [{ path = "/rates" }]\n')
    for folder in (data, data / "inner"):
        manager.install(asks, TrustPolicy(), options(f"files={folder}:/rates:ro"), engine)
        assert manager.resolve("price", engine).allowance.files == (GrantedFolder(str(folder), "/rates"),)


# ---- references -----------------------------------------------------------------------------------------------------


def test_a_file_is_a_plugin_as_it_is(manager, packed, engine, tmp_path, keys):
    path = tmp_path / "x.dfp"
    path.write_bytes(packed().to_bytes())
    resolved = manager.resolve("x.dfp", engine, path)
    assert (resolved.allowance, resolved.manifest.name) == (None, "price")
    assert processed(resolved, '{"amount":2}') == '{"amount":2,"total":4}'
    wrong = packed("1.3.0").signed(keys[0].sign(packed()).signature)
    path.write_bytes(wrong.to_bytes())
    with pytest.raises(WorkflowError, match="the signature is of another package") as raised:
        manager.resolve("x.dfp", engine, path)
    assert str(raised.value.place) == "x.dfp"
    with pytest.raises(UnavailableError, match="the package cannot be read: No such file"):
        manager.resolve("none.dfp", engine, tmp_path / "none.dfp")


@pytest.mark.parametrize("reference", ["price@", "price@1", "Price", "price@1.2.0/../..", "../price", "", "price\n"])
def test_what_is_no_reference_is_told(manager, engine, reference):
    with pytest.raises(WorkflowError, match="is no plugin"):
        manager.resolve(reference, engine)


def test_errors_of_the_code_name_plugin_and_file(manager, packed, engine):
    manager.install(packed(code="\nnonsense();"), TrustPolicy(), UNSIGNED, engine)
    with pytest.raises(WorkflowError) as raised:
        processed(manager.resolve("price@1.2.0", engine), "{}")
    assert str(raised.value.place).startswith("price@1.2.0/price.js:2")
    with pytest.raises(InvalidWorkflowError):
        packed(more="[more]\n")
