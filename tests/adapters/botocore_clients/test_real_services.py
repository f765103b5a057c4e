"""S3, DynamoDB and SQS as moto imitates them, on a real server and in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.breaker_state import votes

from recloser import BreakerOpenError, Registry

from .conftest import KEYS

boto3: Any = pytest.importorskip("boto3")
moto: Any = pytest.importorskip("moto")

from botocore.exceptions import ClientError

from recloser_adapters.botocore import wrap_session


@pytest.fixture(params=["server", "in this process"])
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param != "server":
        with moto.mock_aws():
            yield None
        return
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        _, port = server.get_host_and_port()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_day_of_a_program(url: str | None, registry: Registry) -> None:
    session = wrap_session(boto3.Session(**KEYS, region_name="eu-west-1"), registry)
    s3, dynamodb, sqs = (
        session.client(name, endpoint_url=url) for name in ("s3", "dynamodb", "sqs")
    )

    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="bucket", Key="name", Body=b"content")
    assert s3.get_object(Bucket="bucket", Key="name")["Body"].read() == b"content"
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket="bucket", Key="other")
    dynamodb.create_table(
        TableName="t",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.put_item(TableName="t", Item={"id": {"S": "1"}})
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        dynamodb.put_item(
            TableName="t", Item={"id": {"S": "1"}}, ConditionExpression="attribute_not_exists(id)"
        )
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="hello")
    assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "hello"

    place = "eu-west-1" if url is None else url.removeprefix("http://")
    counted = {each.key.removesuffix(f" {place}"): votes(each.metrics()) for each in registry}
    assert counted == {
        "s3.CreateBucket": {"successes": 1},
        "s3.PutObject": {"successes": 1},
        "s3.GetObject": {"successes": 1, "ignored": 1},
        "dynamodb.CreateTable": {"successes": 1},
        "dynamodb.PutItem": {"successes": 1, "ignored": 1},
        "sqs.CreateQueue": {"successes": 1},
        "sqs.SendMessage": {"successes": 1},
        "sqs.ReceiveMessage": {"successes": 1},
    }
    registry[f"sqs.SendMessage {place}"].open()
    with pytest.raises(BreakerOpenError):
        sqs.send_message(QueueUrl=queue, MessageBody="hello")
    assert registry.faults == 0
    for client in (s3, dynamodb, sqs):
        client.close()
