"""Sees to it that there is a Java machine, which Debezium needs: of Debian the package default-jre-headless.

Exit status 0: there is one, and the line says which; 1: there is none, and the line says why.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

from server_surroundings import APT, SBIN

PACKAGE = "default-jre-headless"
VERSION_MIN = 17


def main() -> int:
    """Look, install where it may, look again."""
    found, reason = version(), ""
    if found < VERSION_MIN:
        reason = installed()
        found = version()
    if found >= VERSION_MIN:
        print(f"Java {found} in {shutil.which('java', path=SBIN)}")
        return 0
    print(f"no Java of version {VERSION_MIN} or newer is there: {reason}: tests of Debezium skip")
    return 1


def installed() -> str:
    """Install the package; return why it could not be, if so."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return f"apt-get install {PACKAGE} needs root and Debian"
    subprocess.run([*APT, "update"], capture_output=True, check=False)
    wanted = [*APT, "-y", "--no-install-recommends", "install", PACKAGE]
    done = subprocess.run(wanted, capture_output=True, text=True, check=False)
    return (done.stderr or done.stdout).strip()[-300:] if done.returncode else "it was installed, and is too old"


def version() -> int:
    """Return the main version of the machine that is found first; 0: there is none."""
    program = shutil.which("java", path=SBIN)
    if program is None:
        return 0
    told = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    match = re.search(r'version "(\d+)', told.stderr + told.stdout)
    return int(match[1]) if match else 0


if __name__ == "__main__":
    sys.exit(main())
