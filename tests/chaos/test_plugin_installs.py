"""Installs of plugins that are killed at each step, or find the disk full, leave what was there or what is new."""

from __future__ import annotations

import signal
import subprocess
import sys

from dataflare.errors import DataFlareError, UnavailableError
from dataflare.plugin.allowance import Allowance
from dataflare.plugin.package import Package
from dataflare.plugin.registry import Installed, PluginRegistry
from tests.chaos.test_disk import Disk
from tests.unit.plugin.folders import plugin_folder


def packed(folder, name="price", version="1.2.0", **more) -> Package:
    return Package.of_folder(plugin_folder(folder / f"{len(list(folder.iterdir()))}", name, version, **more))


def add(registry: PluginRegistry, package: Package) -> Installed:
    made = Installed(package.manifest.name, package.manifest.version, package.digest, Allowance())
    registry.add(package, made, lambda _: None)
    return made


CHILD = """
import os, pathlib, signal, sys
from dataflare.plugin.allowance import Allowance
from dataflare.plugin.package import Package
from dataflare.plugin.registry import Installed, PluginRegistry

steps = int(sys.argv[1])

def dying(function):
    def called(*given, **named):
        global steps
        steps -= 1
        if steps < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given, **named)
    return called

os.fsync, pathlib.Path.replace, pathlib.Path.unlink = map(dying, (os.fsync, pathlib.Path.replace, pathlib.Path.unlink))
package = Package.read(pathlib.Path(sys.argv[3]))
made = Installed(package.manifest.name, package.manifest.version, package.digest, Allowance())
PluginRegistry(pathlib.Path(sys.argv[2])).add(package, made, lambda _: None)
"""


def test_a_kill_at_any_step_leaves_what_was_there_or_what_is_new(tmp_path):
    registry = PluginRegistry(tmp_path / "plugins")
    old, new = packed(tmp_path), packed(tmp_path, code="export const process = () => null;")
    add(registry, packed(tmp_path, "rates"))
    (tmp_path / "new.dfp").write_bytes(new.to_bytes())
    found = []
    for step in range(20):
        add(registry, old)
        command = [sys.executable, "-c", CHILD, str(step), str(registry.folder), str(tmp_path / "new.dfp")]
        code = subprocess.run(command, check=False).returncode
        package = registry.package(registry.find("price"))
        assert package in (old, new)
        found.append((code, package == new))
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert len(found) > 6
    assert [package for _, package in found] == sorted(package for _, package in found)
    assert found[0] == (-signal.SIGKILL, False)
    assert found[-1] == (0, True)
    add(registry, old)
    left = sorted(p.name for p in registry.folder.rglob("*") if p.is_file())
    digests = sorted(f"{i.digest}.dfp" for i in registry.all())
    assert left == sorted([*digests, "lock", "registry.json"])


def test_a_full_disk_leaves_what_was_there(tmp_path):
    disk = Disk(tmp_path, "400k")
    try:
        registry = PluginRegistry(disk.path / "plugins")
        old = add(registry, packed(tmp_path))
        new = packed(tmp_path, version="1.3.0", code=f"export const process = (o) => o; // {'x' * 20_000}")
        failures = 0
        for pages in range(12):
            disk.fill(pages)
            try:
                add(registry, new)
            except DataFlareError as error:
                assert isinstance(error, UnavailableError)
                assert "No space left on device" in error.what
                assert registry.all() == [old]
                failures += 1
            else:
                assert [i.version for i in registry.all()] == ["1.3.0", "1.2.0"]
                break
        assert 3 < failures < 12
        assert registry.package(old).manifest.version == "1.2.0"
    finally:
        disk.close()
