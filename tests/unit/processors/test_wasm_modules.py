"""What `module` may name: a file that runs, a package, an installed plugin; and whose limits count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.plugin.folders import CODE, plugin_folder

from dataflare.component import Registry, StageContext
from dataflare.errors import DataFlareError, UnavailableError, WorkflowError
from dataflare.executor.runtime import LocalRuntime
from dataflare.plugin.allowance import Allowance
from dataflare.plugin.engine import shared_engine
from dataflare.plugin.grants import GrantedFolder, Grants
from dataflare.plugin.manager import InstallOptions, PluginManager
from dataflare.plugin.package import Package
from dataflare.plugin.reference import is_installed
from dataflare.plugin.registry import usual_registry
from dataflare.plugin.trust import TrustPolicy
from dataflare.processors.wasm import WasmConfig, WasmProcessor
from dataflare.workflow import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMITS = '[limits]\nmemory = "64MB"\ntimeout = "2s"\n'


@pytest.fixture(autouse=True)
def _plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFLARE_PLUGINS", str(tmp_path / "plugins"))


@pytest.fixture
def context(tmp_path: Path) -> Iterator[StageContext]:
    runtime = LocalRuntime(lambda _: None)
    yield StageContext(runtime, "w", "n", directory=tmp_path, on_error="fail", epoch_time=lambda: 7)
    runtime.close()


def looked(context: StageContext, module: str, **config: Any) -> WasmProcessor:
    node = WasmProcessor(WasmConfig(module=module, **config))
    node.context = context
    node.look()
    return node


def pack(tmp_path: Path, version: str = "1.2.0", code: str = CODE) -> Package:
    return Package.of_folder(plugin_folder(tmp_path / version, version=version, code=code, more=LIMITS))


def install(package: Package, *words: str) -> None:
    options = InstallOptions(Allowance.of_words(words), unsigned=True)
    PluginManager(usual_registry()).install(package, TrustPolicy(), options, shared_engine(fuel=False))


def test_an_installed_plugin_is_named_with_its_version_or_without(tmp_path: Path, context: StageContext) -> None:
    for version in ("1.2.0", "1.10.0"):
        install(pack(tmp_path, version))
    for module, version in (("price@1.2.0", "1.2.0"), ("price", "1.10.0")):
        found = looked(context, module)._resolved
        assert found is not None
        assert found.manifest is not None
        assert found.manifest.version == version


def test_a_package_lies_beside_the_workflow(tmp_path: Path, context: StageContext) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "price-1.2.0.dfp").write_bytes(pack(tmp_path).to_bytes())
    node = looked(context, "more/price-1.2.0.dfp")
    assert node._program is not None
    assert node._program.file == "price@1.2.0/price.js"


def test_the_plugin_wishes_limits_and_the_workflow_sets_them(tmp_path: Path, context: StageContext) -> None:
    install(pack(tmp_path))
    wished, own = looked(context, "price")._limits(), looked(context, "price", timeout="5s")._limits()
    assert (wished.seconds_max, wished.memory_bytes_max) == (2.0, 64_000_000)
    assert (own.seconds_max, own.memory_bytes_max) == (5.0, 64_000_000)
    (tmp_path / "rules.js").write_text(CODE)
    assert looked(context, "rules.js")._limits().memory_bytes_max == 128 << 20


@pytest.mark.parametrize(
    ("module", "installed"),
    [
        ("price", True),
        ("price@1.2.0", True),
        ("price@1", True),
        ("price.js", False),
        ("a@b.js", False),
        ("a@1.0.0/rules.js", False),
        ("./price", False),
        ("price@1.2.0.dfp", False),
    ],
)
def test_a_name_without_the_ending_of_a_file_is_that_of_an_installed_plugin(module: str, installed: bool) -> None:
    assert is_installed(module) is installed


@pytest.mark.parametrize("level", ["connect", "sample"])
@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("price", "no plugin price is installed"),
        ("price@1", "'price@1' is no plugin"),
        ("none.dfp", "the package cannot be read"),
        ("./price", "the plugin cannot be read"),
    ],
)
def test_what_is_not_there_is_told_at_the_node_of_the_workflow(
    tmp_path: Path, module: str, why: str, level: str
) -> None:
    (tmp_path / "in.csv").write_text("id\n1\n")
    text = f"""id: w
sources:
  rows: {{type: file, config: {{path: in.csv, columns: {{id: int64}}}}}}
transformations:
  made:
    type: wasm
    inputs: [rows]
    config: {{module: {module}}}
destinations:
  out: {{type: stdout, inputs: [made]}}
"""
    (tmp_path / "w.yaml").write_text(text)
    findings = load(tmp_path / "w.yaml", registry=Registry.installed(), environ={}, level=level).findings
    (found,) = [f for f in findings if f.severity == "error"]
    assert why in found.message
    assert (found.place.file, found.place.path) == (str(tmp_path / "w.yaml"), "transformations.made.config")
    assert found.place.line == 8


ASKS = '[capabilities]\nfiles = [{ path = "/rates" }]\nenv = ["REGION"]\n'


def asking(tmp_path: Path) -> Package:
    for name in ("rates", "rates/eu", "other"):
        (tmp_path / name).mkdir()
    return Package.of_folder(plugin_folder(tmp_path / "asking", more=ASKS))


def test_what_an_install_granted_is_given_where_the_workflow_says_nothing(
    tmp_path: Path, context: StageContext
) -> None:
    package = asking(tmp_path)
    install(package, f"files={tmp_path}/rates:/rates", "env=REGION=eu")
    node = looked(context, "price")
    assert node.grants() == Grants((GrantedFolder(str(tmp_path / "rates"), "/rates"),), {"REGION": "eu"})
    assert node.granted() == [f"files {tmp_path}/rates at /rates", "variable REGION"]
    assert "on files that it is granted" in node.varies()


def test_a_workflow_grants_less_than_the_install_did_and_never_more(tmp_path: Path, context: StageContext) -> None:
    package = asking(tmp_path)
    install(package, f"files={tmp_path}/rates:/rates", "env=REGION")

    def grants(folder: str, *, write: bool = False) -> dict[str, Any]:
        return {"files": [{"path": folder, "at": "/rates", "write": write}], "env": {"REGION": "us"}}

    node = looked(context, "price", grants=grants("rates/eu"))
    assert node.grants().files == (GrantedFolder(str(tmp_path / "rates" / "eu"), "/rates"),)
    for more in (grants("other"), grants("rates", write=True)):
        with pytest.raises(WorkflowError, match=r"price@1.2.0 was installed without a grant of"):
            looked(context, "price", grants=more)
    with pytest.raises(WorkflowError, match="asks for what the workflow does not grant: env=REGION"):
        looked(context, "price")
    with pytest.raises(WorkflowError, match="asks for what the workflow does not grant"):
        looked(context, "price", grants={})


def test_a_folder_that_became_a_link_to_another_is_no_longer_granted(tmp_path: Path, context: StageContext) -> None:
    package = asking(tmp_path)
    install(package, f"files={tmp_path}/rates:/rates", "env=REGION=eu")
    (tmp_path / "rates").rename(tmp_path / "moved")
    (tmp_path / "rates").symlink_to(tmp_path / "other")
    with pytest.raises(WorkflowError, match=rf"without a grant of {tmp_path}/other at /rates"):
        looked(context, "price")


def test_a_package_beside_the_workflow_is_granted_what_it_asks_for(tmp_path: Path, context: StageContext) -> None:
    package = asking(tmp_path)
    (tmp_path / "x.dfp").write_bytes(package.to_bytes())
    whole: dict[str, Any] = {"files": [{"path": "rates", "at": "/rates"}], "env": {"REGION": "eu"}}
    assert looked(context, "x.dfp", grants=whole).granted() == ["files rates at /rates", "variable REGION"]
    with pytest.raises(WorkflowError, match="does not ask for what is granted: clock"):
        looked(context, "x.dfp", grants=whole | {"clock": True})
    with pytest.raises(WorkflowError, match="asks for what the workflow does not grant"):
        looked(context, "x.dfp")


def test_the_places_of_plugins_and_of_trust_are_granted_to_nobody(
    tmp_path: Path, context: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    (tmp_path / "rules.js").write_text(CODE)
    install(pack(tmp_path))
    (tmp_path / "settings" / "dataflare").mkdir(parents=True)
    for folder in ("plugins", "settings"):
        with pytest.raises(WorkflowError, match="is not for plugins"):
            looked(context, "rules.js", grants={"files": [{"path": folder, "at": "/x"}]})


def test_settings_fit_the_schema_of_the_package(tmp_path: Path, context: StageContext) -> None:
    more = (
        '[settings]\nrequired = ["rate"]\nadditionalProperties = false\n[settings.properties.rate]\ntype = "number"\n'
    )
    (tmp_path / "x.dfp").write_bytes(Package.of_folder(plugin_folder(tmp_path / "a", more=more)).to_bytes())
    looked(context, "x.dfp", settings={"rate": 2})
    with pytest.raises(WorkflowError) as raised:
        looked(context, "x.dfp", settings={"rat": "secret"})
    assert raised.value.what == ("price@1.2.0: settings.rate is missing; settings.rat is unknown, did you mean 'rate'?")


def test_a_program_loads_packages_and_installed_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(pack(tmp_path))
    (tmp_path / "x.dfp").write_bytes(pack(tmp_path, "1.3.0").to_bytes())
    for module in ("price@1.2.0", tmp_path / "x.dfp"):
        with WasmProcessor.load(module) as plugin:
            assert plugin.process({"amount": 2}) == {"amount": 2, "total": 4}
            assert plugin._limits.memory_bytes_max == 64_000_000
    package = asking(tmp_path)
    (tmp_path / "asks.dfp").write_bytes(package.to_bytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorkflowError, match="asks for what the workflow does not grant"):
        WasmProcessor.load("asks.dfp")
    whole: dict[str, Any] = {"files": [{"path": "rates", "at": "/rates"}], "env": {"REGION": "eu"}}
    with WasmProcessor.load("asks.dfp", grants=whole) as plugin:
        assert plugin._use.grants == Grants((GrantedFolder(str(tmp_path / "rates"), "/rates"),), {"REGION": "eu"})
        assert plugin.process({"amount": 2}) == {"amount": 2, "total": 4}


def test_a_package_that_was_changed_is_refused_by_a_run(tmp_path: Path, context: StageContext) -> None:
    install(pack(tmp_path))
    (kept,) = (tmp_path / "plugins" / "packages").iterdir()
    data = kept.read_bytes()
    kept.write_bytes(data.replace(b"amount * 2", b"amount * 3"))
    with pytest.raises(WorkflowError, match=r"price.js is damaged"):
        looked(context, "price")
    kept.unlink()
    with pytest.raises(DataFlareError, match="is gone from"):
        looked(context, "price")
    with pytest.raises(UnavailableError, match=r"version 2.0.0 of the plugin price is not installed"):
        looked(context, "price@2.0.0")
