"""What a server of objects answers, refuses or keeps back: tried again, bounded, and told without secrets."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from dataflare.connectors.file.source import FileSource, FileSourceConfig
from dataflare.connectors.file.stores import Stores
from dataflare.errors import ExternalError, UnavailableError
from dataflare.testing.stage import staged

pytest.importorskip("obstore")
KEY, SECRET = "AKIAPUBLICPART", "never/to+be=seen"
BODY = b"id\n1\n"


class Answers(BaseHTTPRequestHandler):
    """Gives the answers of a list, then objects."""

    script: ClassVar[list[tuple[int, str]]]
    asked: ClassVar[list[dict[str, str]]]

    def do_GET(self):
        self.asked.append({"path": self.path, **dict(self.headers)})
        status, text = self.script.pop(0) if self.script else (206, "")
        body = text.encode() or BODY
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Wed, 25 Nov 2026 10:00:00 GMT")
        self.send_header("ETag", '"one"')
        if status == 206:
            self.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """Yield a server; its `script` and `asked` are those of this test."""
    handler = type("Scripted", (Answers,), {"script": [], "asked": []})
    made = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    made.script, made.asked = handler.script, handler.asked
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def stores(tmp_path, server, **more):
    settings = {
        "endpoint": f"http://127.0.0.1:{server.server_port}",
        "region": "us-east-1",
        "access_key_id": KEY,
        "secret_access_key": SECRET,
        "timeout": "5s",
        **more,
    }
    config = FileSourceConfig(path="s3://bucket/a.csv", s3=settings, columns={"id": "int64"})
    made = staged(FileSource(config), tmp_path)
    return Stores(made.context, config.s3)


def opened(found):
    return found.of("s3://bucket/a.csv").open("s3://bucket/a.csv")


def test_a_server_that_is_busy_is_asked_again(tmp_path, server):
    server.script += [(503, "<Error><Code>SlowDown</Code></Error>"), (500, "")]
    file = opened(stores(tmp_path, server))
    assert file.pread(0, 100) == BODY
    assert len(server.asked) == 3


def test_it_is_asked_a_bounded_number_of_times(tmp_path, server):
    server.script += [(503, "<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>")] * 9
    with pytest.raises(ExternalError, match=r"s3://bucket/a\.csv: SlowDown: Reduce your rate"):
        opened(stores(tmp_path, server, retries=2))
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("status", "code", "cure"),
    [
        (403, "InvalidAccessKeyId", "access_key_id"),
        (403, "SignatureDoesNotMatch", "secret_access_key"),
        (403, "AccessDenied", "permission"),
        (400, "ExpiredToken", "session_token"),
        (404, "NoSuchBucket", "bucket"),
    ],
)
def test_a_refusal_names_the_cure_and_no_secret(tmp_path, server, status, code, cure):
    server.script += [(status, f"<Error><Code>{code}</Code><Message>{KEY} {SECRET}</Message></Error>")] * 3
    with pytest.raises(UnavailableError) as caught:
        opened(stores(tmp_path, server))
    assert cure in str(caught.value)
    assert "s3://bucket" in str(caught.value)
    assert KEY not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None  # what the library says in full is not passed on


def test_an_unknown_refusal_is_told_without_secrets(tmp_path, server):
    server.script += [(400, f"<Error><Code>Odd</Code><Message>for {KEY}: {SECRET}</Message></Error>")] * 3
    with pytest.raises(ExternalError) as caught:
        opened(stores(tmp_path, server))
    assert "Odd: for ***: ***" in str(caught.value)


def test_a_server_that_is_not_there_is_named(tmp_path, server):
    port = server.server_port
    server.shutdown()
    server.server_close()
    with pytest.raises(ExternalError, match=f"127.0.0.1:{port}.*endpoint"):
        opened(stores(tmp_path, server, retries=1))


def test_keys_come_from_the_environment_and_public_buckets_need_none(tmp_path, server, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOFTHEENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    opened(stores(tmp_path, server, access_key_id="", secret_access_key=""))
    opened(stores(tmp_path, server))
    opened(stores(tmp_path, server, access_key_id="", secret_access_key="", anonymous=True))
    signed = [request.get("authorization", "") for request in server.asked]
    assert "AKIAOFTHEENVIRONMENT" in signed[0]
    assert KEY in signed[1]
    assert signed[2] == ""


def certificate(folder):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    begin = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(made.public_bytes(pem))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, plain))


def test_a_certificate_is_checked_and_one_of_ones_own_can_be_trusted(tmp_path, server):
    certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    told = {"endpoint": f"https://127.0.0.1:{server.server_port}", "retries": 0}
    with pytest.raises(ExternalError):
        opened(stores(tmp_path, server, **told))
    assert opened(stores(tmp_path, server, **told, ca_file="ca.pem")).pread(0, 9) == BODY
    with pytest.raises(UnavailableError, match=r"none\.pem"):
        opened(stores(tmp_path, server, **told, ca_file="none.pem"))
