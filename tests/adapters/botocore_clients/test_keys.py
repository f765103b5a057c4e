"""Keys, labels, settings and what may go wrong around them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.outage import ASKED_BY_ALL
from tests.support.scripted_upstream import Upstream, answer

from recloser import Outcome, Policy, Registry

from .conftest import KEYS, Connect

boto3: Any = pytest.importorskip("boto3")

from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from recloser_adapters.botocore import (
    AWSCall,
    BreakerOpenEndpointError,
    CallReport,
    by_credential,
    by_model,
    by_operation,
    by_service,
    wrap_client,
    wrap_session,
)

JSON = {"content-type": "application/x-amz-json-1.0"}
OBJECT = "/bucket/name"


def call_to(
    url: str, service: str = "s3", operation: str = "GetObject", method: str = "GET"
) -> AWSCall:
    request: Any = AWSRequest(method, url)
    request.context["client_region"] = "eu-west-1"
    return AWSCall(request, service, operation)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://bucket.s3.eu-west-1.amazonaws.com/name", "s3.GetObject eu-west-1"),
        ("https://bucket.s3.dualstack.eu-west-1.api.aws/name", "s3.GetObject eu-west-1"),
        ("https://s3.cn-north-1.amazonaws.com.cn/bucket", "s3.GetObject eu-west-1"),
        ("http://user:pass@Minio:9000/bucket/name", "s3.GetObject minio:9000"),
        ("https://amazonaws.com.example/bucket", "s3.GetObject amazonaws.com.example"),
    ],
)
def test_a_key_names_the_region_or_a_host_that_is_not_of_aws(url: str, key: str) -> None:
    call = call_to(url)

    assert by_operation(call) == by_model(call) == key
    assert by_service(call) == key.replace(".GetObject", "")
    assert repr(call) == f"<AWSCall {key}>"


def test_a_model_of_bedrock_has_a_key_of_its_own() -> None:
    url = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/anthropic.claude-4/converse"

    call = call_to(url, "bedrock-runtime", "Converse", "POST")

    assert by_model(call) == "bedrock-runtime.Converse eu-west-1 anthropic.claude-4"
    assert by_operation(call) == "bedrock-runtime.Converse eu-west-1"


def test_a_key_may_be_the_access_key(
    connect: Connect, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(OBJECT, answer(200, b"x"))
    s3 = connect("s3", key=by_credential)

    for _ in range(2):  # each request has a signature of its own
        s3.get_object(Bucket="bucket", Key="name")["Body"].read()

    (breaker,) = registry
    assert breaker.key.startswith(f"s3.GetObject {upstream.host} (credential ")
    assert "AKIA" not in breaker.key
    assert votes(breaker.metrics()) == {"successes": 2}


@pytest.mark.parametrize(
    ("key", "expected"),
    [("aws", "aws"), (lambda call: call.service, "s3"), (by_service, "s3 {host}")],
    ids=["a name", "a function", "by service"],
)
def test_a_key_may_be_chosen(
    connect: Connect, upstream: Upstream, registry: Registry, key: Any, expected: str
) -> None:
    upstream.answers(OBJECT, answer(200, b"x"))

    connect("s3", key=key).get_object(Bucket="bucket", Key="name")["Body"].read()

    assert [each.key for each in registry] == [expected.format(host=upstream.host)]


def test_a_call_whose_key_is_none_is_not_guarded(
    connect: Connect, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(OBJECT, answer(200, b"x"))

    body = connect("s3", key=lambda call: None).get_object(Bucket="bucket", Key="name")["Body"]

    assert body.read() == b"x"
    assert len(registry) == 0


@pytest.mark.parametrize(
    "junk",
    [{"key": lambda call: 7}, {"classify": lambda seen: "good"}, {"label_by": lambda call: {}}],
)
def test_a_function_that_fails_is_a_fault_and_no_error(
    connect: Connect, upstream: Upstream, registry: Registry, junk: dict[str, Any]
) -> None:
    upstream.answers(OBJECT, answer(200, b"x"))

    assert connect("s3", **junk).get_object(Bucket="bucket", Key="name")["Body"].read() == b"x"

    breaker = registry[f"s3.GetObject {upstream.host}"]
    assert breaker.metrics().successes == 1
    assert registry.faults == 1


def test_classify_sees_answers_and_errors(
    connect: Connect, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers("/", answer(200, b'{"Count": 0}', JSON))
    upstream.answers("/", answer(400, b'{"__type": "ResourceInUseException"}', JSON))
    seen: list[Any] = []

    def classify(told: Any) -> Outcome:
        seen.append(told)
        return Outcome.FAILURE

    table = connect("dynamodb", classify=classify)
    table.scan(TableName="t")
    with pytest.raises(ClientError):
        table.scan(TableName="t")

    assert seen[0]["Count"] == 0
    assert isinstance(seen[1], ClientError)
    assert votes(registry[f"dynamodb.Scan {upstream.host}"].metrics()) == {"failures": 2}


def test_each_attempt_is_reported(
    connect: Connect, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    upstream.answers("/", answer(500, b'{"__type": "InternalServerError"}', JSON))
    upstream.answers("/", answer(200, b"{}", JSON))
    reports: list[CallReport] = []

    connect("dynamodb", attempts=2, on_end=reports.append).list_tables()

    assert [each.outcome for each in reports] == [Outcome.FAILURE, Outcome.SUCCESS]


def test_who_is_asked_to_wait_is_one_access_key(
    bare: Connect, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers("/", answer(400, b'{"__type": "ThrottlingException"}', JSON))
    loud = wrap_client(bare("dynamodb"), registry)
    for _ in range(ASKED_BY_ALL):
        with pytest.raises(ClientError):
            loud.list_tables()
    with pytest.raises(BreakerOpenEndpointError):
        loud.list_tables()
    session = boto3.Session(
        aws_access_key_id="AKIAOTHER", aws_secret_access_key="x", region_name="eu-west-1"
    )
    config = loud.meta.config
    quiet = session.client("dynamodb", endpoint_url=upstream.url, config=config)

    with pytest.raises(ClientError, match="ThrottlingException"):
        wrap_client(quiet, registry).list_tables()

    quiet.close()


def test_waiting_for_a_message_says_nothing_about_latency(
    connect: Connect, upstream: Upstream, registry: Registry, clock: Any
) -> None:
    """Twenty seconds are no slow answer where nobody has sent a message."""
    queue_url = f"{upstream.url}/1/q"
    upstream.answers("/", lambda wire: clock.advance(0.05), answer(200, b"{}", JSON))
    queue = connect("sqs")
    for _ in range(30):
        queue.receive_message(QueueUrl=queue_url, WaitTimeSeconds=20)
    upstream.answers("/", lambda wire: clock.advance(20.0), answer(200, b"{}", JSON))
    for _ in range(30):
        queue.receive_message(QueueUrl=queue_url, WaitTimeSeconds=20)

    breaker = registry[f"sqs.ReceiveMessage {upstream.host}"]
    metrics = breaker.metrics()
    assert (metrics.successes, metrics.slow) == (60, 0)


# Bedrock


def test_an_answer_of_a_model_is_guarded_by_model(
    connect: Connect, upstream: Upstream, registry: Registry
) -> None:
    told = {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 3, "outputTokens": 1, "totalTokens": 4},
        "metrics": {"latencyMs": 5},
    }
    body = json.dumps(told).encode()
    upstream.answers("/model/anthropic.claude-4/converse", answer(200, body, JSON))

    answered = connect("bedrock-runtime").converse(
        modelId="anthropic.claude-4", messages=[{"role": "user", "content": [{"text": "Hi"}]}]
    )

    assert answered["output"]["message"]["content"] == [{"text": "Hello"}]
    key = f"bedrock-runtime.Converse {upstream.host} anthropic.claude-4"
    assert votes(registry[key].metrics()) == {"successes": 1}
    assert registry.faults == 0


# What is guarded


@pytest.mark.parametrize("guard", [wrap_session, wrap_client], ids=["session", "client"])
def test_what_is_guarded_twice_counts_once(
    guard: Callable[..., Any], upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(OBJECT, answer(200, b"x"))
    session = wrap_session(boto3.Session(**KEYS, region_name="eu-west-1"), registry)
    if guard is wrap_session:
        wrap_session(session, registry)
    s3 = session.client("s3", endpoint_url=upstream.url)
    if guard is wrap_client:
        wrap_client(s3, registry)

    s3.get_object(Bucket="bucket", Key="name")["Body"].read()

    s3.close()
    assert votes(registry[f"s3.GetObject {upstream.host}"].metrics()) == {"successes": 1}


def test_the_resources_of_a_session_are_guarded(upstream: Upstream, registry: Registry) -> None:
    upstream.answers("/bucket", answer(200))
    session = wrap_session(boto3.Session(**KEYS, region_name="eu-west-1"), registry)
    resource = session.resource("s3", endpoint_url=upstream.url)

    assert list(resource.Bucket("bucket").objects.all()) == []

    resource.meta.client.close()
    assert [each.key for each in registry] == [f"s3.ListObjects {upstream.host}"]


@pytest.mark.parametrize("guard", [wrap_client, wrap_session])
@pytest.mark.parametrize(
    ("settings", "error", "named"),
    [
        ({"key": ""}, ValueError, "key"),
        ({"key": 7}, TypeError, "key"),
        ({"classify": "failure"}, TypeError, "classify"),
        ({"on_end": 7}, TypeError, "on_end"),
        ({"cut_off": True}, TypeError, "cut_off"),
        ({"registry": Policy()}, TypeError, r"write Registry\(policy\)"),
    ],
)
def test_a_setting_that_cannot_be_is_named_at_once(
    guard: Callable[..., Any],
    settings: dict[str, Any],
    error: type[Exception],
    named: str,
    bare: Connect,
) -> None:
    with pytest.raises(error, match=named):
        guard(bare("s3"), **settings)


def test_something_else_is_named_too() -> None:
    session = boto3.Session(**KEYS, region_name="eu-west-1")
    resource = session.resource("s3")

    with pytest.raises(TypeError, match=r"write resource\.meta\.client"):
        wrap_client(resource)
    with pytest.raises(TypeError, match="session must be"):
        wrap_session(object())
    resource.meta.client.close()
