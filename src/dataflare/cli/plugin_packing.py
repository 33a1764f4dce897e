"""`dataflare plugin pack`, `sign` and `publish`: a plugin becomes one file, says whose it is, and is found."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dataflare.cli.console import write, write_json
from dataflare.errors import Place, UnavailableError, WorkflowError
from dataflare.plugin.package import Package
from dataflare.plugin.signature import SigningKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.plugin.repository import PluginRepository


def pack_command(folder: Path, to: Path | None, key: Path | None, *, as_json: bool) -> int:
    """Write the package of a folder and print where it is."""
    package = Package.of_folder(folder)
    if key is not None:
        package = SigningKey.read(key).sign(package)
    path = (to or Path()) / package.file_name
    _put(path, package.to_bytes())
    _tell(path, package, as_json=as_json)
    return 0


def sign_command(package: Path | None, key: Path | None, new_key: Path | None, *, as_json: bool) -> int:
    """Make a key, or sign a package in its place."""
    if (key is None) == (new_key is None) or (key is not None and package is None):
        raise WorkflowError("name a package and --key FILE, or --new-key FILE")
    made = SigningKey.new(new_key) if new_key is not None else SigningKey.read(key) if key is not None else None
    assert made is not None
    if new_key is not None:
        _tell_key(new_key, made, as_json=as_json)
    if package is not None:
        signed = made.sign(Package.read(package))
        _put(package, signed.to_bytes())
        _tell(package, signed, as_json=as_json)
    return 0


def publish_command(package: Path, to: str, *, as_json: bool) -> int:
    """Put a package into a repository, unless it is there."""
    found = Package.read(package)
    new = repository_at(to, os.environ).publish(found)
    if as_json:
        write_json({"name": found.manifest.name, "version": found.manifest.version, "repository": to, "new": new})
    else:
        write(f"{found.manifest.reference} {'is published' if new else 'was published before'} in {to}")
    return 0


def repository_at(place: str, environ: Mapping[str, str]) -> PluginRepository:
    """Return the repository of a folder or a URL; an object store is reached as the environment says."""
    from dataflare.objects.settings import ObjectStoreConfig
    from dataflare.plugin.repository import PluginRepository

    certificates = b""
    if bundle := environ.get("AWS_CA_BUNDLE"):
        try:
            certificates = Path(bundle).read_bytes()
        except OSError as error:
            raise UnavailableError(f"AWS_CA_BUNDLE: {bundle}: {error.strerror}") from error
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL", "")
    return PluginRepository.at(place, ObjectStoreConfig(endpoint=endpoint), certificates)


def _tell_key(path: Path, key: SigningKey, *, as_json: bool) -> None:
    if as_json:
        write_json({"key": str(path), "public_key": str(key.public), "key_id": key.public.id})
        return
    write(f"{path} is the private key: keep it, and give it to nobody")
    write("whoever trusts it writes into trust.toml:")
    write(f'\n[keys.{path.stem or "mine"}]\npublic = "{key.public}"')


def _tell(path: Path, package: Package, *, as_json: bool) -> None:
    size = path.stat().st_size
    if as_json:
        told = {"package": str(path), "name": package.manifest.name, "version": package.manifest.version}
        write_json(told | {"digest": package.digest, "bytes": size, "signed": package.signature is not None})
        return
    signed = "signed" if package.signature is not None else "not signed"
    write(f"{path}: {package.manifest.reference}, {len(package.files)} files, {size:,} bytes, {signed}")


def _put(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; a mode that it has stays, a new one is readable by all."""
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), mode)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise UnavailableError(f"the package cannot be written: {error.strerror}", place=Place(str(path))) from error


__all__ = ["pack_command", "publish_command", "repository_at", "sign_command"]
