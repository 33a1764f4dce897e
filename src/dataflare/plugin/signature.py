"""Signatures of packages: Ed25519 over the hashes of all files, by the package `cryptography`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.errors import Place, UnavailableError, WorkflowError
from dataflare.plugin.package import SIGNATURE, Package, canonical

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "ed25519"
KEY_BYTES, SIGNED_BYTES = 32, 64
_KEY_FILE_BYTES_MAX = 8192


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that signatures are verified with, written as `ed25519:` and its 32 bytes in Base64."""

    data: bytes

    @classmethod
    def of(cls, text: str) -> PublicKey:
        """Read one; raise WorkflowError where it is none."""
        word, _, encoded = text.partition(":")
        data = _decoded(encoded, KEY_BYTES) if word == ALGORITHM else None
        if data is None:
            raise WorkflowError("this is no public key", hint=f"such as {ALGORITHM}:<44 letters>")
        return cls(data)

    def __str__(self) -> str:
        """Write it."""
        return f"{ALGORITHM}:{base64.b64encode(self.data).decode()}"

    @property
    def id(self) -> str:
        """A short name for people; two keys could be made to have the same one, so nothing is decided by it."""
        return hashlib.sha256(self.data).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key."""

    key: Ed25519PrivateKey

    @classmethod
    def new(cls, path: Path) -> SigningKey:
        """Make a key and write it into a new file that only its owner reads; raise where the file is there already."""
        private, words = _library()
        key = private.Ed25519PrivateKey.generate()
        data = key.private_bytes(words.Encoding.PEM, words.PrivateFormat.PKCS8, words.NoEncryption())
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - the mode is told at once
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            raise WorkflowError(
                f"{path} is there already", hint="a key that is overwritten is lost; name another file"
            ) from None
        except OSError as error:
            raise UnavailableError(f"the key cannot be written: {error.strerror}", place=Place(str(path))) from error
        return cls(key)

    @classmethod
    def read(cls, path: Path) -> SigningKey:
        """Read a key; raise DataFlareError where others may read it, too, or it is none."""
        private, words = _library()
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(_KEY_FILE_BYTES_MAX)
        except OSError as error:
            raise UnavailableError(f"the key cannot be read: {error.strerror}", place=Place(str(path))) from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise WorkflowError("others may read this key", hint=f"chmod 600 {path}", place=Place(str(path)))
        try:
            key = words.load_pem_private_key(data, None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, private.Ed25519PrivateKey):
            raise WorkflowError(
                "this is no private key of Ed25519 without a password",
                hint="dataflare plugin sign --new-key FILE makes one",
                place=Place(str(path)),
            )
        return cls(key)

    @property
    def public(self) -> PublicKey:
        """The key that others verify with."""
        return PublicKey(self.key.public_key().public_bytes_raw())

    def sign(self, package: Package) -> Package:
        """Return the package with the signature of this key, in the place of any other."""
        told = {
            "algorithm": ALGORITHM,
            "digest": package.digest,
            "key_id": self.public.id,
            "public_key": str(self.public),
            "signature": base64.b64encode(self.key.sign(package.hashes)).decode(),
        }
        return package.signed(canonical(told))


def signer_of(package: Package) -> PublicKey | None:
    """Return the key that has signed a package, None where none has; raise WorkflowError for a wrong signature.

    Who has the key is not known yet.
    """
    if package.signature is None:
        return None
    told = _told(package)
    key = PublicKey.of(told["public_key"])
    if told["digest"] != package.digest:
        raise WorkflowError(
            "the signature is of another package, or this one was changed after it was signed",
            hint="get it from its author again",
            place=Place(package.shown),
        )
    private, _ = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        verifying = private.Ed25519PublicKey.from_public_bytes(key.data)
        verifying.verify(_decoded(told["signature"], SIGNED_BYTES) or b"", package.hashes)
    except (InvalidSignature, ValueError):
        raise WorkflowError(
            f"the signature is wrong: the key {key.id} has not made it for this package",
            hint="get it from its author again",
            place=Place(package.shown),
        ) from None
    return key


def _told(package: Package) -> dict[str, str]:
    """Return what the file says, each part of which is as it should be."""
    assert package.signature is not None
    try:
        told: Any = json.loads(package.signature)
        fields = {"algorithm", "digest", "key_id", "public_key", "signature"}
        good = isinstance(told, dict) and told.keys() == fields and all(isinstance(v, str) for v in told.values())
        good = good and told["algorithm"] == ALGORITHM and _decoded(told["signature"], SIGNED_BYTES) is not None
        good = good and canonical(told) == package.signature
        good = good and PublicKey.of(told["public_key"]).id == told["key_id"]
    except (ValueError, RecursionError, WorkflowError):
        good = False
    if not good:
        raise WorkflowError(f"{SIGNATURE} is no signature that is known here", place=Place(package.shown))
    return dict(told)


def _decoded(text: str, size: int) -> bytes | None:
    """Return so many bytes of Base64, None where it is something else or is written in another way."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == size and base64.b64encode(data).decode() == text else None


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise UnavailableError(
            "signatures need the package cryptography", hint="pip install 'dataflare[wasm]'"
        ) from error
    return ed25519, serialization


__all__ = ["PublicKey", "SigningKey", "signer_of"]
