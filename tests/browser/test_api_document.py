"""The API is what its OpenAPI document says, whatever it is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.browser.conftest import ODD_KEYS, USERS, Served, call

from recloser import Registry
from recloser_adapters.dashboard import Dashboard, basic

# The rate at which it finds something new falls fast; by hand, 500 found no more than 40.
EXAMPLES = 40


@pytest.mark.parametrize("key", ["any", "POST%20%2Fpayments", "of a fleet"])
def test_schemathesis_finds_nothing(registry: Registry, tmp_path: Path, key: str) -> None:
    """With made-up keys, with one that is there, and with keys that workers share."""
    if key == "of a fleet":
        registry = Registry(store=tmp_path / "fleet.db", max_keys=2000)
    for each in ["POST /payments", "a/b/open", *ODD_KEYS]:
        call(registry[each], 40)
        call(registry[each], 5, bad=True)
    dashboard = Dashboard(registry, auth=basic(USERS))
    served = Served(dashboard)
    url = f"http://127.0.0.1:{served.port}"
    if key != "any":
        (tmp_path / "schemathesis.toml").write_text('[parameters]\n"path.key" = "POST /payments"\n')
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
        *("--url", url, "--auth", f"anna:{USERS['anna']}"),
        *("--checks", "all", "--max-examples", str(EXAMPLES), "--continue-on-failure"),
        *("--suppress-health-check", "all", "--warnings", "off", "--seed", "1"),
    ]

    found = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    served.stop()
    dashboard.close()

    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
    assert registry.faults == 0
    if registry.fleet is not None:
        registry.fleet.close()
