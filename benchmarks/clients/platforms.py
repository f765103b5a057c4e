"""How SDKs of platforms, stores and protocols are guarded; `# guard` as in `llm.py`."""

from __future__ import annotations

from typing import Any

from benchmarks.clients.client import KEY, Call, Client, awaited
from recloser import Registry


def _mcp(url: str, registry: Registry) -> Call:
    import httpx2
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    from recloser_adapters.httpx2 import wrap_client  # guard

    http = wrap_client(httpx2.AsyncClient(), registry, key=KEY)  # guard

    async def tools() -> Any:
        async with (
            streamable_http_client(f"{url}/mcp", http_client=http) as (incoming, outgoing),  # guard
            ClientSession(incoming, outgoing) as session,
        ):
            await session.initialize()
            return await session.list_tools()

    return awaited(tools)


def _stripe(url: str, registry: Registry) -> Call:
    import requests
    import stripe

    from recloser_adapters.requests import wrap_session  # guard

    session = wrap_session(requests.Session(), registry, key=KEY)  # guard
    client = stripe.StripeClient(
        "sk",
        base_addresses={"api": url},
        http_client=stripe.RequestsClient(session=session),  # guard
    )
    return lambda: client.v1.payment_intents.create({"amount": 1, "currency": "eur"})


def _stripe_decorated(url: str, registry: Registry) -> Call:
    import stripe

    client = stripe.StripeClient("sk", base_addresses={"api": url})

    @registry[KEY]  # guard
    def charge() -> Any:
        return client.v1.payment_intents.create({"amount": 1, "currency": "eur"})

    return charge


def _twilio(url: str, registry: Registry) -> Call:
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client as Twilio

    from recloser_adapters.requests import wrap_session  # guard

    http = TwilioHttpClient()
    wrap_session(http.session, registry, key=KEY)  # guard
    client = Twilio("AC1", "token", http_client=http)
    client.api.base_url = url
    return lambda: client.messages.create(to="+1", from_="+2", body="hi")


def _slack(url: str, registry: Registry) -> Call:
    import slack_sdk

    client = slack_sdk.WebClient("xoxb", base_url=f"{url}/api/")

    @registry[KEY]  # guard
    def post() -> Any:
        return client.chat_postMessage(channel="c", text="hi")

    return post


def _github(url: str, registry: Registry) -> Call:
    import github

    client = github.Github(base_url=url, retry=None, seconds_between_requests=None)

    @registry[KEY]  # guard
    def user() -> Any:
        return client.get_user().login

    return user


def _gql(url: str, registry: Registry) -> Call:
    import gql
    from gql.transport.requests import RequestsHTTPTransport

    transport = RequestsHTTPTransport(f"{url}/graphql")
    client = gql.Client(transport=transport)
    query = gql.gql("{ me }")

    @registry[KEY]  # guard
    def ask() -> Any:
        return client.execute(query)

    return ask


def _httpx_sse(url: str, registry: Registry) -> Call:
    import httpx
    import httpx_sse

    from recloser_adapters.httpx import wrap_client  # guard

    client = wrap_client(httpx.Client(), registry, key=KEY)  # guard

    def events() -> Any:
        with httpx_sse.connect_sse(client, "GET", f"{url}/events") as source:
            source.response.raise_for_status()
            return list(source.iter_sse())

    return events


def _qdrant(url: str, registry: Registry) -> Call:
    import httpx
    import qdrant_client

    from recloser_adapters.httpx import BreakerTransport  # guard

    transport = BreakerTransport(httpx.HTTPTransport(), registry, key=KEY)  # guard
    client = qdrant_client.QdrantClient(
        url=url,
        check_compatibility=False,
        transport=transport,  # guard
    )
    return lambda: client.get_collections()


def _supabase(url: str, registry: Registry) -> Call:
    import httpx
    import supabase
    from supabase.lib.client_options import SyncClientOptions

    from recloser_adapters.httpx import wrap_client  # guard

    http = wrap_client(httpx.Client(), registry, key=KEY)  # guard
    options = SyncClientOptions(httpx_client=http)  # guard
    client = supabase.create_client(url, "sb_publishable_x", options)
    return lambda: client.table("t").select("*").execute()


def _elasticsearch(url: str, registry: Registry) -> Call:
    import elasticsearch

    client = elasticsearch.Elasticsearch(url)

    @registry[KEY]  # guard
    def health() -> Any:
        return client.cluster.health()

    return health


def _zeep(url: str, registry: Registry) -> Call:
    import requests
    import zeep

    from recloser_adapters.requests import wrap_session  # guard

    session = requests.Session()
    client: Any = zeep.Client(f"{url}/wsdl", transport=zeep.Transport(session=session))
    wrap_session(session, registry, key=KEY)  # guard
    return lambda: client.service.Add(a=1)


def _storage(url: str, registry: Registry) -> Call:
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import AuthorizedSession
    from google.cloud import storage

    from recloser_adapters.requests import wrap_session  # guard

    session = wrap_session(AuthorizedSession(AnonymousCredentials()), registry, key=KEY)  # guard
    client = storage.Client(
        project="p",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": url},
        _http=session,  # guard
    )
    # Its retries take two minutes by default, also for a call that was refused.
    return lambda: client.get_bucket("bucket", retry=None)  # guard


def _msgraph(url: str, registry: Registry) -> Call:
    import httpx
    from kiota_abstractions.authentication import AnonymousAuthenticationProvider
    from kiota_http.httpx_request_adapter import HttpxRequestAdapter
    from msgraph import GraphServiceClient

    from recloser_adapters.httpx import wrap_client  # guard

    http = wrap_client(httpx.AsyncClient(), registry, key=KEY)  # guard
    adapter = HttpxRequestAdapter(AnonymousAuthenticationProvider(), http_client=http)  # guard
    adapter.base_url = f"{url}/v1.0"
    client = GraphServiceClient(request_adapter=adapter)
    return awaited(lambda: client.me.get())


def _boto3(url: str, registry: Registry) -> Call:
    import boto3
    from botocore.config import Config

    style = Config(s3={"addressing_style": "path"})
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=style,
    )

    @registry[KEY]  # guard
    def load() -> Any:
        return client.get_object(Bucket="bucket", Key="object")["Body"].read()

    return load


def _kubernetes(url: str, registry: Registry) -> Call:
    from kubernetes import client as kubernetes

    configuration = kubernetes.Configuration(host=url)
    configuration.retries = False
    api = kubernetes.CoreV1Api(kubernetes.ApiClient(configuration))

    @registry[KEY]  # guard
    def namespaces() -> Any:
        return api.list_namespace()

    return namespaces


CLIENTS = (
    Client("mcp", "mcp", _mcp),
    Client("stripe", "stripe", _stripe, own_error=402),
    Client("stripe, decorated", "stripe", _stripe_decorated, own_error=402),
    Client("twilio", "twilio", _twilio),
    Client("slack_sdk", "slack-sdk", _slack),
    Client("PyGithub", "PyGithub", _github, own_error=404),
    Client("gql", "gql[requests]", _gql),
    Client("httpx-sse", "httpx-sse", _httpx_sse, own_error=404),
    Client("qdrant-client", "qdrant-client", _qdrant),
    Client("supabase", "supabase", _supabase),
    Client("elasticsearch", "elasticsearch", _elasticsearch, own_error=404),
    Client("zeep", "zeep", _zeep),
    Client("google-cloud-storage", "google-cloud-storage", _storage, own_error=404),
    Client("msgraph", "msgraph-sdk", _msgraph, own_error=404),
    Client("boto3", "boto3", _boto3, own_error=404),
    Client("kubernetes", "kubernetes", _kubernetes, own_error=404),
)
