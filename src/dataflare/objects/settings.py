"""The settings of object stores that speak S3."""

from __future__ import annotations

from dataflare.component import Config, Duration, Field

SCHEME = "s3://"


class ObjectStoreConfig(Config):
    """How an object store is reached; what is not given comes from the environment, as for other tools of AWS."""

    endpoint: str = Field("", description="URL of the server; default: AWS in `region`. http:// is without TLS.")
    region: str = Field("", description="Region; default: AWS_REGION, else us-east-1.")
    access_key_id: str = Field("", description="Key, as a secret reference. Default: AWS_ACCESS_KEY_ID.", repr=False)
    secret_access_key: str = Field(
        "", description="Secret of the key, as a secret reference. Default: AWS_SECRET_ACCESS_KEY.", repr=False
    )
    session_token: str = Field("", description="Token of a key for a time. Default: AWS_SESSION_TOKEN.", repr=False)
    anonymous: bool = Field(default=False, description="Sign no request: for buckets that everybody may read.")
    virtual_host: bool = Field(default=False, description="The bucket stands in the name of the host, not in the path.")
    ca_file: str = Field("", description="PEM file of certificates to trust, beside those of the machine.")
    timeout: Duration = Field("60s", description="Longest time of one request.", validate_default=True)
    retries: int = Field(
        5, ge=0, le=20, description="So many times a request is tried again, after waits of 0.1 to 15 s with jitter."
    )


__all__ = ["SCHEME", "ObjectStoreConfig"]
