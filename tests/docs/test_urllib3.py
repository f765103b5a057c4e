"""docs/how-to/urllib3.md: each block of code runs, in its order, against a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.markdown import code_blocks
from tests.support.scripted_upstream import Upstream, answer

pytest.importorskip("urllib3")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "urllib3.md"
BLOCKS = code_blocks(PAGE)
ELASTIC = {"content-type": "application/json", "x-elastic-product": "Elasticsearch"}


def run(heading: str, upstream: Upstream, known: dict[str, Any]) -> None:
    """Run the blocks below a heading. The host is the upstream."""
    found = [code for above, code in BLOCKS if above == heading]
    assert found, heading
    for code in found:
        for written in ("https://api.example.org:443", "https://api.example.org"):
            code = code.replace(written, upstream.url)
        code = code.replace("api.example.org", upstream.host)
        exec(compile(code, str(PAGE), "exec"), known)


@pytest.fixture
def known(upstream: Upstream) -> dict[str, Any]:
    upstream.answers("/items", answer(200, b"[]"))
    known: dict[str, Any] = {}
    run("urllib3, Kubernetes, Elasticsearch, OpenSearch", upstream, known)
    return known


@pytest.mark.parametrize("heading", ["Keys", "Refusals"])
def test_the_code_below_a_heading_runs(
    heading: str, upstream: Upstream, known: dict[str, Any]
) -> None:
    run(heading, upstream, known)

    assert votes(known["registry"][upstream.host].metrics())["successes"] == 1


def test_kubernetes(upstream: Upstream, known: dict[str, Any]) -> None:
    pytest.importorskip("kubernetes")
    pods = b'{"kind": "PodList", "apiVersion": "v1", "items": []}'
    path = "/api/v1/namespaces/default/pods"
    upstream.answers(path, answer(200, pods, {"content-type": "application/json"}))

    run("Kubernetes", upstream, known)

    assert known["pods"].items == []
    assert votes(known["registry"][upstream.host].metrics()) == {"successes": 2}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("library", "heading"), [("elasticsearch", "Elasticsearch"), ("opensearchpy", "OpenSearch")]
)
def test_search(library: str, heading: str, upstream: Upstream, known: dict[str, Any]) -> None:
    module: Any = pytest.importorskip(library)
    upstream.answers("/", answer(200, b'{"cluster_name": "c", "version": {}}', ELASTIC))

    run(heading, upstream, known)

    breaker = known["registry"][upstream.host]
    assert breaker.metrics().successes == 2
    breaker.open()
    with pytest.raises(module.ConnectionError, match="is open"):
        known["search"].info()
    known["search"].close()


def test_no_block_is_left_out() -> None:
    headings = {heading for heading, _ in BLOCKS}

    assert headings == {
        "urllib3, Kubernetes, Elasticsearch, OpenSearch",
        "Kubernetes",
        "Elasticsearch",
        "OpenSearch",
        "Keys",
        "Refusals",
    }
