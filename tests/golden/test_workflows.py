"""Whole workflow files against what must come out of them."""

from __future__ import annotations

from pathlib import Path

from tests.golden.stand_ins import REGISTRY

from dataflare.plan import Action, EdgeKind, Level, Mechanism
from dataflare.workflow import describe, load, picture

FOLDER = Path(__file__).parent / "workflows"


def loaded(name, **options):
    return load(FOLDER / name, registry=REGISTRY, environ=options.pop("environ", {}), **options)


def test_the_sample_is_clean_and_typed():
    found = loaded("sample.yaml")
    assert [str(f) for f in found.findings if f.severity != "info"] == []
    assert found.typed
    plan = found.plan
    assert (plan.workflow, plan.version, plan.metadata["owner"]) == ("shop-to-lake", "1.4.0", "data-team")
    assert [str(c.type) for c in plan.node("clean").output().schema][3] == "decimal(12,2)"
    assert plan.node("shop").output("orders").kind is EdgeKind.UPSERT
    assert plan.node("clean").on_error.action is Action.DEAD_LETTER
    assert plan.node("clean").on_error.rate_max == 0.01
    assert [str(e) for e in plan.inputs_of("lake")] == ["split.normal -> lake", "split.big -> lake"]
    assert [str(e) for e in plan.inputs_of("enriched")] == ["paid -> enriched", "shop.customers -> enriched"]
    assert [str(e) for e in plan.inputs_of("dead")] == ["visits.errors -> dead", "clean.errors -> dead"]
    assert plan.decider() == "lake"
    assert {g.level for g in plan.guarantees.values()} == {Level.EXACTLY_ONCE}
    assert plan.settings.memory_bytes_max == 1 << 30
    assert plan.settings.checkpoint_timeout_seconds == 60.0
    assert plan.settings.state == {"type": "sqlite", "path": "./.dataflare"}
    assert plan.node("big").traits["batch"] == {"rows": 50000, "bytes": 64 << 20, "period_seconds": 30.0}
    assert found.tests[0].name == "masks and routes"


def test_secrets_stay_references_in_the_plan_and_out_of_every_text():
    found = loaded("sample.yaml", environ={"SHOP_PASSWORD": "hunter2", "SHOP_SALT": "pepper"}, level="sample")
    assert found.plan.node("shop").config["password"] == "${secret:pg/PASSWORD}"
    assert found.plan.secrets == {"pg": {"type": "env", "prefix": "SHOP_"}}
    written = f"{found.plan}{found.plan.to_json()}{describe(found.plan)}{picture(found.plan)}{found.findings}"
    assert "hunter2" not in written
    assert "pepper" not in written


def test_an_older_file_runs_unchanged():
    found = loaded("older.yaml", environ={"DB_PASSWORD": "x"})
    assert [str(f) for f in found.findings if f.severity == "error"] == []
    warned = {f.code for f in found.findings if f.severity == "warning"}
    assert warned == {"workflow.rows_share_keys", "workflow.rows_added_again"}
    plan = found.plan
    assert [n.id for n in plan.of_kind("processor")] == ["lower", "kept", "totals", "known"]
    assert (plan.node("users").traits["mode"], plan.node("users").config["user"]) == ("incremental", "app")
    assert plan.node("users").config["host"] == "localhost"
    assert plan.node("clicks").type == "file"
    assert plan.node("clicks").config["format"] == "csv"
    assert plan.node("clicks").config["path"] == "data/clicks.csv"
    assert plan.node("copy").config == {"path": "out/copy.csv", "header": False, "delimiter": ",", "format": "csv"}
    warehouse = plan.node("warehouse")
    assert warehouse.traits["write_mode"] == "merge"
    assert warehouse.traits["key"] == warehouse.config["key"] == ["user_id"]
    assert warehouse.traits["batch"] == {"rows": 10000, "period_seconds": 60.0}
    assert plan.guarantees["warehouse"].mechanism is Mechanism.DIRECT
    assert plan.metadata["name"] == "Users and orders"


def test_every_mistake_is_told_at_once_at_its_place():
    found = loaded("mistakes.yaml")
    assert found.plan is None
    told = [
        f"{f.place.line}:{f.place.column} {f.severity} {f.code} {f.place.path}".rstrip()
        for f in found.findings
        if f.severity != "info"
    ]
    expected = [line.rstrip() for line in (FOLDER / "mistakes.expected").read_text().splitlines()]
    assert told == expected
    assert sum(f.severity == "error" for f in found.findings) >= 20


def test_every_error_of_a_bad_file_names_a_cure():
    cured = [f for f in loaded("mistakes.yaml").findings if f.severity == "error"]
    without = [f.code for f in cured if not f.hint and f.code not in ("workflow.invalid_value", "workflow.not_one_of")]
    assert without == []


def test_what_has_no_effect_yet_is_told():
    told = {(f.code, f.place.path) for f in loaded("sample.yaml").findings if f.severity == "info"}
    assert ("workflow.unheeded", "schedule") in told
