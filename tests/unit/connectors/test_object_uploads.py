"""Requests that are signed here are signed as botocore signs them, and are kept back where there is no key."""

from __future__ import annotations

import pytest

from dataflare.connectors.file.object_uploads import Key, Uploads
from dataflare.connectors.file.source import FileSource, FileSourceConfig
from dataflare.objects.settings import ObjectStoreConfig
from dataflare.testing.stage import staged


def uploads(**config):
    made = staged(FileSource(FileSourceConfig(path="a.csv", columns={"id": "int64"})))
    return Uploads(made.context, "bucket", ObjectStoreConfig(**config))


@pytest.mark.parametrize("token", ["", "a/token+of=mine"])
@pytest.mark.parametrize(
    ("config", "name", "query", "url"),
    [
        ({}, "", {"uploads": "", "prefix": "o ut/ü+"}, "https://bucket.s3.eu-west-1.amazonaws.com/"),
        ({"endpoint": "http://127.0.0.1:9000"}, "a b/c+ü.x", {"uploadId": "q/+="}, "http://127.0.0.1:9000/bucket/"),
    ],
)
def test_the_signature_is_that_of_botocore(monkeypatch, config, name, query, url, token):
    auth = pytest.importorskip("botocore.auth")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    ours = uploads(region="eu-west-1", **config)
    asked = {}
    monkeypatch.setattr(ours, "_connection", lambda: Recorded(asked))
    ours._ask(Key("AKIA", "s3cr/et", token), "GET", name, query)

    method, target, headers = asked["request"]
    assert f"{url.partition('//')[0]}//{headers['host']}{target}".startswith(url)
    request = AWSRequest(method=method, url=f"{url.partition('//')[0]}//{headers['host']}{target}")
    moment = headers["x-amz-date"]
    request.context["timestamp"] = moment
    request.headers["X-Amz-Date"] = moment
    request.headers["X-Amz-Content-SHA256"] = headers["x-amz-content-sha256"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    signer = auth.S3SigV4Auth(Credentials("AKIA", "s3cr/et", token or None), "s3", "eu-west-1")
    expected = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert headers["authorization"].endswith(f"Signature={expected}")


class Recorded:
    """A connection that notes what it was asked."""

    def __init__(self, asked):
        self.asked, self.status = asked, 200

    def request(self, method, target, headers):
        self.asked["request"] = (method, target, headers)

    def getresponse(self):
        return self

    def read(self):
        return b""

    def close(self):
        pass


def test_without_a_key_nothing_is_asked(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    for config in ({}, {"anonymous": True, "access_key_id": "x"}):
        found = uploads(**config)
        monkeypatch.setattr(found, "_connection", lambda: pytest.fail("asked"))
        assert found.end("", lambda _: True) == 0


def test_a_server_that_is_not_there_is_left_alone_and_keys_are_not_shown():
    key = {"access_key_id": "AKIA", "secret_access_key": "hidden"}
    found = uploads(endpoint="http://127.0.0.1:1", timeout="1s", **key)
    assert found.end("", lambda _: True) == 0
    assert "hidden" not in repr(Key.of(found._config))
