"""Clients of boto3 whose service is the scripted upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.support.scripted_upstream import Upstream

from recloser import Registry

boto3: Any = pytest.importorskip("boto3")

from botocore.config import Config

from recloser_adapters.botocore import wrap_client

KEYS = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "secret"}
Connect = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_PROFILE",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "HTTP_PROXY",
        "http_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")


@pytest.fixture
def bare(upstream: Upstream) -> Iterator[Connect]:
    """Makes clients that are not guarded."""
    with ExitStack() as stack:

        def make(service: str, attempts: int = 1, mode: str = "standard", **options: Any) -> Any:
            session = boto3.Session(**KEYS, region_name="eu-west-1")
            retries: Any = {"total_max_attempts": attempts, "mode": mode}
            config = Config(
                retries=retries,
                s3={"addressing_style": "path"},
                connect_timeout=10,
                read_timeout=options.pop("read_timeout", 10),
            )
            url = options.pop("endpoint_url", upstream.url)
            client = session.client(service, endpoint_url=url, config=config, **options)
            stack.callback(client.close)
            return client

        yield make


@pytest.fixture
def connect(bare: Connect, registry: Registry) -> Connect:
    """Makes clients that are guarded."""

    def make(service: str, attempts: int = 1, mode: str = "standard", **settings: Any) -> Any:
        options = {
            name: settings.pop(name)
            for name in ("endpoint_url", "read_timeout")
            if name in settings
        }
        return wrap_client(bare(service, attempts, mode, **options), registry, **settings)

    return make
