"""A bucket for each test."""

from tests.objects import bucket as bucket  # noqa: PLC0414 - a fixture for all tests of this folder
