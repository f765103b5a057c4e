"""docs/how-to/aws.md: each block of code runs, in its order, against moto's server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.markdown import code_blocks

from recloser import BreakerOpenError

pytest.importorskip("boto3")
pytest.importorskip("aiobotocore")
moto_server: Any = pytest.importorskip("moto.server")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "aws.md"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the services are: a server of moto, which is found as users find theirs."""
    server = moto_server.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    _, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/nowhere",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        "no_proxy": "*",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop()


# The page leaves its clients open, as programs do.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_code_of_the_page_runs(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    known: dict[str, Any] = {}

    for _, code in code_blocks(PAGE):
        # Here the services are not at AWS, so the host stands where the region would.
        code = code.replace('sqs.ListQueues us-east-1"', f'sqs.ListQueues {place}"')
        exec(compile(code, str(PAGE), "exec"), known)

    told = capsys.readouterr().out
    registry = known["registry"]
    assert "b'all is well'" in told
    assert "['reports']" in told
    assert f"sqs.ListQueues {place}: try again in" in told
    assert registry[f"s3.PutObject {place}"].metrics().successes == 1
    assert registry[f"s3.ListBuckets {place}"].metrics().successes == 1
    assert registry.faults == 0
    with pytest.raises(known["ClientError"]):
        known["table"].get_item(Key={"id": "1"})
    assert registry[f"dynamodb.GetItem {place}"].metrics().ignored == 1
    known["queue"].list_queues()
    registry[f"sqs.ListQueues {place}"].open()
    with pytest.raises(BreakerOpenError):
        known["queue"].list_queues()
