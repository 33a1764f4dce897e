"""Signatures and trust: who has signed a package, and whether that is enough to install it."""

from __future__ import annotations

import base64
import json
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.unit.plugin.folders import plugin_folder

from dataflare.errors import InvalidWorkflowError, UnavailableError, WorkflowError
from dataflare.plugin.package import Package, canonical
from dataflare.plugin.signature import PublicKey, SigningKey, signer_of
from dataflare.plugin.trust import Signer, TrustedKey, TrustPolicy


@pytest.fixture
def key(tmp_path):
    return SigningKey.new(tmp_path / "key.pem")


@pytest.fixture
def packed(tmp_path):
    return Package.of_folder(plugin_folder(tmp_path / "price"), "price")


@pytest.fixture
def signed(key, packed):
    return key.sign(packed)


def policy(key: SigningKey, *plugins: str, name: str = "shop") -> TrustPolicy:
    return TrustPolicy(keys=(TrustedKey(name, key.public, plugins or ("*",)),))


# ---- keys -----------------------------------------------------------------------------------------------------------


def test_a_new_key_is_read_by_its_owner_alone_and_never_overwritten(tmp_path, key):
    path = tmp_path / "key.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.read(path).public == key.public
    with pytest.raises(WorkflowError, match="is there already"):
        SigningKey.new(path)
    assert SigningKey.read(path).public == key.public
    with pytest.raises(UnavailableError, match="cannot be written: No such file"):
        SigningKey.new(tmp_path / "none" / "key.pem")


def test_a_key_that_others_may_read_is_not_used(tmp_path, key):
    (tmp_path / "key.pem").chmod(0o640)
    with pytest.raises(WorkflowError, match="others may read this key"):
        SigningKey.read(tmp_path / "key.pem")


def test_what_is_no_private_key_of_ed25519_is_refused(tmp_path):
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for data in (b"", b"nothing", other):
        path = tmp_path / "other.pem"
        path.write_bytes(data)
        path.chmod(0o600)
        with pytest.raises(WorkflowError, match="this is no private key of Ed25519"):
            SigningKey.read(path)
    with pytest.raises(UnavailableError, match="cannot be read"):
        SigningKey.read(tmp_path / "none.pem")


@pytest.mark.parametrize("text", ["", "ed25519:", "ed25519:AAAA", "rsa:" + "A" * 43 + "=", "ed25519:" + "A" * 44])
def test_what_is_no_public_key_is_refused(text):
    with pytest.raises(WorkflowError, match="this is no public key"):
        PublicKey.of(text)


def test_a_public_key_is_written_in_one_way(key):
    text = str(key.public)
    assert PublicKey.of(text) == key.public
    with pytest.raises(WorkflowError):
        PublicKey.of(text[:-2] + chr(ord(text[-2]) + 1) + "=")  # other bits that Base64 does not use


# ---- signatures -----------------------------------------------------------------------------------------------------


def test_a_signature_is_part_of_the_package_and_tells_its_key(key, signed, packed):
    again = Package.of_bytes(signed.to_bytes(), "x.dfp")
    assert signer_of(again) == key.public
    assert (again.digest, signer_of(packed)) == (packed.digest, None)


def test_a_signature_of_another_package_is_refused(key, packed, tmp_path):
    other = key.sign(Package.of_folder(plugin_folder(tmp_path / "o", version="1.2.1")))
    replayed = Package.of_bytes(packed.signed(other.signature).to_bytes(), "x.dfp")
    with pytest.raises(WorkflowError, match="the signature is of another package, or this one was changed after"):
        signer_of(replayed)


def test_a_signature_of_other_bytes_is_refused_whatever_it_says_of_itself(key, packed, tmp_path):
    other = key.sign(Package.of_folder(plugin_folder(tmp_path / "o", version="1.2.1")))
    told = json.loads(other.signature) | {"digest": packed.digest}
    with pytest.raises(WorkflowError, match=f"the signature is wrong: the key {key.public.id}"):
        signer_of(packed.signed(canonical(told)))


def test_the_signature_of_one_key_is_not_that_of_another(signed, tmp_path):
    other = SigningKey.new(tmp_path / "other.pem").public
    told = json.loads(signed.signature) | {"public_key": str(other), "key_id": other.id}
    with pytest.raises(WorkflowError, match="the signature is wrong"):
        signer_of(signed.signed(canonical(told)))


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": "none"},
        {"signature": ""},
        {"signature": base64.b64encode(b"0" * 63).decode()},
        {"public_key": "ed25519:AAAA"},
        {"key_id": "0" * 16},
        {"more": ""},
        {"digest": 1},
    ],
)
def test_a_signature_of_another_form_is_refused(signed, change):
    told = json.loads(signed.signature) | change
    with pytest.raises(WorkflowError, match="no signature that is known here"):
        signer_of(signed.signed(canonical(told)))


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 4000])
def test_what_is_no_signature_at_all_is_refused(packed, data):
    with pytest.raises(WorkflowError, match="no signature that is known here"):
        signer_of(packed.signed(data))


def test_a_signature_is_written_in_one_way(signed):
    spaced = json.dumps(json.loads(signed.signature)).encode()
    with pytest.raises(WorkflowError, match="no signature that is known here"):
        signer_of(signed.signed(spaced))


def test_a_plugin_that_was_changed_after_signing_is_refused_though_its_hashes_are_right(key, tmp_path, signed):
    changed = Package.of_folder(plugin_folder(tmp_path / "o", code="export const process = () => null;"))
    forged = Package.of_bytes(changed.signed(signed.signature).to_bytes(), "x.dfp")
    with pytest.raises(WorkflowError, match="was changed after it was signed"):
        policy(key).judge(forged, unsigned=True)


# ---- trust ----------------------------------------------------------------------------------------------------------


def test_a_trusted_key_is_enough(key, signed):
    assert policy(key).judge(signed) == Signer(str(key.public), "shop")
    assert policy(key, "rates", "pri*").judge(signed).name == "shop"


def test_a_package_without_a_signature_is_refused_unless_that_is_said(key, packed):
    with pytest.raises(WorkflowError, match="the package is not signed"):
        policy(key).judge(packed)
    assert policy(key).judge(packed, unsigned=True) == Signer()
    assert TrustPolicy("unsigned").judge(packed) == Signer()


def test_the_key_of_a_stranger_is_refused_and_told(key, signed, tmp_path):
    other = policy(SigningKey.new(tmp_path / "other.pem"))
    with pytest.raises(WorkflowError, match="a key has signed it that is not trusted here") as raised:
        other.judge(signed)
    assert str(key.public) in raised.value.hint
    assert other.judge(signed, unsigned=True) == Signer(str(key.public))


def test_a_key_signs_only_the_plugins_that_it_is_trusted_with(key, signed):
    for unsigned in (False, True):
        with pytest.raises(WorkflowError, match="which is not trusted with plugins named price"):
            policy(key, "rates", "price-*").judge(signed, unsigned=unsigned)


def test_one_key_may_have_two_names(key, signed):
    both = TrustPolicy(keys=(*policy(key, "rates").keys, *policy(key, "price", name="price").keys))
    assert both.judge(signed).name == "price"


# ---- trust.toml -----------------------------------------------------------------------------------------------------


def test_a_policy_is_read(tmp_path, key):
    path = tmp_path / "trust.toml"
    path.write_text(f'[keys.shop]\npublic = "{key.public}"\nplugins = ["price", "shop-*"]\n', encoding="utf-8")
    assert TrustPolicy.read(path) == policy(key, "price", "shop-*")
    path.write_text('policy = "unsigned"', encoding="utf-8")
    assert TrustPolicy.read(path) == TrustPolicy("unsigned")


def test_without_a_file_nothing_is_trusted(tmp_path, signed):
    with pytest.raises(WorkflowError, match="not trusted here"):
        TrustPolicy.read(tmp_path / "none.toml").judge(signed)


def test_all_that_is_wrong_in_a_policy_is_told_with_its_line(tmp_path):
    path = tmp_path / "trust.toml"
    path.write_text(
        'policy = "all"\n[keys]\na = 1\n[keys.b]\npublic = "ed25519:AA"\n[keys.c]\npublic = 1\nplugin = []\n'
        '[keys.d]\nplugins = ["Price"]\n',
        encoding="utf-8",
    )
    with pytest.raises(InvalidWorkflowError) as raised:
        TrustPolicy.read(path)
    assert [(f.place.line, f.message) for f in raised.value.findings] == [
        (1, "policy must be one of signed, unsigned"),
        (3, "keys.a must be a table"),
        (5, "keys.b.public: this is no public key"),
        (7, "keys.c.public: this is no public key"),
        (8, "unknown key keys.c.plugin"),
        (10, "keys.d.plugins must be a list of names"),
    ]
    path.write_text("keys = 1", encoding="utf-8")
    with pytest.raises(InvalidWorkflowError, match="keys must be tables"):
        TrustPolicy.read(path)
    for data, why in ((b"policy", "not valid TOML"), (b"\xff", "byte 0 is no UTF-8")):
        path.write_bytes(data)
        with pytest.raises(WorkflowError, match=why):
            TrustPolicy.read(path)


def test_a_policy_that_everybody_may_write_is_not_believed(tmp_path):
    path = tmp_path / "trust.toml"
    path.write_text("", encoding="utf-8")
    path.chmod(0o666)
    with pytest.raises(UnavailableError, match="everybody may write into this file"):
        TrustPolicy.read(path)
