"""What the fake provider answers: the least that each SDK accepts as an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: its status, its body (bytes as they are, all else as JSON) and its headers."""

    body: Any
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


_USAGE = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
_MESSAGE = {"role": "assistant", "content": "hi"}
_CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}],
    "usage": _USAGE,
}
_CHUNK = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "delta": _MESSAGE, "finish_reason": "stop"}],
}
_RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "status": "completed",
    "output": [
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "hi", "annotations": []}],
        }
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 3,
        "output_tokens": 1,
        "total_tokens": 4,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    },
}
_ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 1},
}
_GEMINI = {
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP"}
    ]
}
_COHERE = {
    "id": "1",
    "finish_reason": "COMPLETE",
    "message": {"role": "assistant", "content": [{"type": "text", "text": "hi"}]},
}
_OLLAMA = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": _MESSAGE, "done": True}
_STRIPE = {"id": "pi_1", "object": "payment_intent", "amount": 1, "currency": "eur"}
_TWILIO = {"sid": "SM1", "body": "hi", "status": "queued", "to": "+1", "from": "+2"}
_ELASTIC = {"X-Elastic-Product": "Elasticsearch", "content-type": "application/json"}
_S3_ERROR = b"<Error><Code>%s</Code><Message>x</Message></Error>"
_SOAP = (
    b'<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
    b'<AddResponse xmlns="urn:add"><result>3</result></AddResponse></soap:Body></soap:Envelope>'
)
_SOAP_FAULT = (
    b'<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
    b"<soap:Fault><faultcode>soap:%s</faultcode><faultstring>x</faultstring></soap:Fault>"
    b"</soap:Body></soap:Envelope>"
)
_WSDL = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" name="Add"
 xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:x="http://www.w3.org/2001/XMLSchema"
 xmlns:t="urn:add" targetNamespace="urn:add">
 <types><x:schema targetNamespace="urn:add" elementFormDefault="qualified">
  <x:element name="Add"><x:complexType><x:sequence><x:element name="a" type="x:int"/>
  </x:sequence></x:complexType></x:element>
  <x:element name="AddResponse"><x:complexType><x:sequence><x:element name="result" type="x:int"/>
  </x:sequence></x:complexType></x:element></x:schema></types>
 <message name="In"><part name="p" element="t:Add"/></message>
 <message name="Out"><part name="p" element="t:AddResponse"/></message>
 <portType name="P"><operation name="Add"><input message="t:In"/><output message="t:Out"/>
 </operation></portType>
 <binding name="B" type="t:P"><s:binding transport="http://schemas.xmlsoap.org/soap/http"/>
  <operation name="Add"><s:operation soapAction="add"/><input><s:body use="literal"/></input>
  <output><s:body use="literal"/></output></operation></binding>
 <service name="S"><port name="P" binding="t:B"><s:address location="URL/soap"/></port></service>
</definitions>"""

# By the end of the path, the first that fits.
_BY_PATH: tuple[tuple[str, Any], ...] = (
    ("/chat/completions", _CHAT),
    ("/responses", _RESPONSE),
    ("/v1/messages", _ANTHROPIC),
    (":generateContent", _GEMINI),
    ("/v2/chat", _COHERE),
    ("/api/chat", _OLLAMA),
    ("/payment_intents", _STRIPE),
    ("/Messages.json", _TWILIO),
    ("/chat.postMessage", {"ok": True, "ts": "1"}),
    ("/user", {"login": "x", "id": 1, "url": "http://x/user"}),
    ("/graphql", {"data": {"me": "x"}}),
    ("/collections", {"result": {"collections": []}, "status": "ok", "time": 0.1}),
    ("/rest/v1/t", []),
    ("/b/bucket", {"kind": "storage#bucket", "id": "bucket", "name": "bucket"}),
    ("/v1.0/me", {"id": "1", "displayName": "x"}),
    (
        "/api/v1/namespaces",
        {"kind": "NamespaceList", "apiVersion": "v1", "metadata": {}, "items": []},
    ),
)
_STREAMED: Mapping[str, Any] = {"/chat/completions": _CHUNK}


def _events(*events: Any) -> Answer:
    lines = [f"data: {e if isinstance(e, str) else json.dumps(e)}\n\n" for e in events]
    return Answer("".join(lines).encode(), content_type="text/event-stream")


def _json_rpc(body: bytes) -> Answer:
    """The answer of an MCP server without a stream of its own."""
    try:
        request = json.loads(body)
    except ValueError:
        return Answer(b"", 405)  # a GET: it pushes nothing
    if "id" not in request:
        return Answer(b"", 202)
    result: dict[str, Any] = {"tools": []}
    if request["method"] == "initialize":
        result = {
            "protocolVersion": request["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "x", "version": "1"},
        }
    return Answer({"jsonrpc": "2.0", "id": request["id"], "result": result})


def answer_of(method: str, path: str, body: bytes, url: str) -> Answer:
    """The answer of a provider that is well."""
    streams = b'"stream":true' in body.replace(b" ", b"")
    for end, content in _BY_PATH:
        if path.endswith(end):
            if streams and end in _STREAMED:
                return _events(_STREAMED[end], "[DONE]")
            return Answer(content)
    special: dict[str, Callable[[], Answer]] = {
        "/mcp": lambda: _json_rpc(body),
        "/events": lambda: _events({"n": 1}, {"n": 2}),
        "/soap": lambda: Answer(_SOAP, content_type="text/xml"),
        "/wsdl": lambda: Answer(_WSDL.replace("URL", url).encode(), content_type="text/xml"),
        "/_cluster/health": lambda: Answer({"status": "green"}, headers=_ELASTIC),
        "/bucket/object": lambda: Answer(b"data", content_type="binary/octet-stream"),
    }
    return special[path]() if path in special else Answer({})


def error_of(status: int, path: str) -> Answer:
    """An error in the form of the provider that the path belongs to."""
    headers = {"retry-after": "1"} if status == 429 else {}
    if path.startswith("/bucket"):
        code = {404: b"NoSuchKey", 503: b"ServiceUnavailable", 429: b"SlowDown"}
        return Answer(_S3_ERROR % code.get(status, b"InternalError"), status, "application/xml")
    if path == "/soap":
        fault = b"Client" if status < 500 else b"Server"
        return Answer(_SOAP_FAULT % fault, status, "text/xml", headers)
    if path.endswith("/chat.postMessage") and status < 429:
        return Answer({"ok": False, "error": "channel_not_found"})
    if path.endswith("/graphql") and status < 429:
        return Answer({"errors": [{"message": "Unknown field"}]})
    if path.startswith("/_cluster"):
        headers = {**headers, **_ELASTIC}
    kind = "card_error" if path.endswith("/payment_intents") else "invalid_request_error"
    error = {"message": "x", "type": kind, "code": "x" if status < 500 else "server_error"}
    return Answer({"error": error, "message": "x", "code": status}, status, headers=headers)
