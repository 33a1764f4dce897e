"""The settings of those who listen: who may come in."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from dataflare.component import Config, Field

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class CallerAuth(Config):
    """Who may come in."""

    type: Literal["token", "hmac"] = Field(description="A token in a header, or a signature of the body.")
    token: str = Field("", description="token: the token; better a secret reference.", repr=False)
    secret: str = Field("", description="hmac: the secret that both sides know; better a secret reference.", repr=False)
    header: str = Field(
        "", description="Where the token or the signature stands; default: Authorization, X-Hub-Signature-256."
    )
    prefix: str = Field("", description="What stands before it; default: `Bearer ` and `sha256=` in those headers.")
    algorithm: Literal["sha256", "sha1", "sha512"] = Field("sha256", description="hmac: how the body is signed.")
    encoding: Literal["hex", "base64"] = Field("hex", description="hmac: how the signature is written.")

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, value: object) -> object:
        """Fill in where they stand usually."""
        usual = {"token": ("Authorization", "Bearer "), "hmac": ("X-Hub-Signature-256", "sha256=")}
        if isinstance(value, dict) and value.get("type") in usual and not value.get("header"):
            header, prefix = usual[value["type"]]
            return {**value, "header": header, "prefix": value.get("prefix", prefix)}
        return value

    @model_validator(mode="after")
    def _whole(self) -> CallerAuth:
        needed = self.token if self.type == "token" else self.secret
        if not needed:
            raise ValueError(f"auth of type {self.type} needs {'token' if self.type == 'token' else 'secret'}")
        return self


__all__ = ["LOOPBACK", "CallerAuth"]
