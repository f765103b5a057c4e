"""The code of docs/how-to/agents.md, with a provider on loopback where it calls one."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.markdown import code_blocks
from tests.support.scripted_upstream import Upstream, answer

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "how-to" / "agents.md"
BLOCKS = [code for _, code in code_blocks(PAGE)]
NEEDS = ("pydantic_ai", "langchain_openai", "langchain_core", "openai")
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


def response(text: str) -> bytes:
    """An answer of OpenAI's responses, which pydantic-ai asks by default."""
    part = {"type": "output_text", "text": text, "annotations": []}
    output = {"type": "message", "id": "1", "role": "assistant", "status": "completed"}
    body: dict[str, Any] = {"id": "1", "object": "response", "created_at": 1, "model": "m"}
    body |= {"output": [{**output, "content": [part]}], "status": "completed", "tools": []}
    body |= {"parallel_tool_calls": False, "tool_choice": "auto"}
    return answer(200, json.dumps(body).encode(), {"content-type": "application/json"})


def reply(text: str) -> bytes:
    """An answer of OpenAI's chat completions."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    made = json.dumps({**body, "choices": [choice], "usage": usage})
    return answer(200, made.encode(), {"content-type": "application/json"})


@pytest.fixture(autouse=True)
def loop() -> Iterator[None]:
    """The event loop that `run_sync` finds, and leaves open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()
    asyncio.set_event_loop(None)


def run(code: str) -> dict[str, Any]:
    for name in NEEDS:
        if name in code and not importlib.util.find_spec(name):
            pytest.skip(f"{name} is not installed")
    names: dict[str, Any] = {}
    exec(code, names)
    return names


async def ask(agent: Any) -> str:
    async with agent:
        answer: str = (await agent.run("ping")).output
    return answer


def invoke(model: Any) -> str:
    answer: str = model.invoke("ping").content
    for each in (model.runnable, *model.fallbacks):
        each.root_client.close()
    return answer


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_it_runs_and_the_backup_answers_for_a_sick_model(
    code: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{upstream.url}/v1")
    monkeypatch.setenv("OPENAI_API_BASE", f"{upstream.url}/v1")
    names = run(code)
    if "gpt-5" not in code:
        return  # it has asserted what it shows
    registry = names["registry"]
    registry["openai:gpt-5"].open("in a test")
    upstream.answers(CHAT, reply("pong"))
    upstream.answers(RESPONSES, response("pong"))

    text = asyncio.run(ask(names["agent"])) if "agent" in names else invoke(names["model"])

    assert text == "pong"
    assert registry["openai:gpt-4.1"].metrics().successes == 1
    assert registry["openai:gpt-5"].metrics().refused == 1


def test_the_first_block_is_what_a_user_pastes() -> None:
    lines = [line for line in BLOCKS[0].splitlines() if line]

    assert len([line for line in lines if "recloser" in line or "registry" in line]) <= 5
