"""examples/team-with-a-budget, run as its README says on a running stack: what it prints is what was trained."""

import os
import re
import subprocess
import sys

from tests.stack import ROOT, DevStack

PRICE_MICROS_PER_MILLION = 3_000_000


def test_a_team_is_made_and_its_costs_are_its_trained_tokens(stack: DevStack) -> None:
    """Project, key, budget, a refusal over it, a job within it, and the costs to the micro-dollar."""
    ready = stack.ready()
    environment = {**os.environ, "OPENAI_BASE_URL": ready["base_url"], "OPENAI_ADMIN_KEY": ready["admin_key"]}
    done = subprocess.run(
        [sys.executable, "examples/team-with-a-budget/team.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    budget, refused, ended, *costs = done.stdout.splitlines()
    assert re.fullmatch(r"project proj_\w+ may spend \$2\.00 a month", budget)
    assert refused == "refused before it cost anything: insufficient_quota"
    found = re.fullmatch(r"ftjob-\w+ succeeded: (ft:\S+), (\d+) tokens", ended)
    assert found is not None, ended
    tokens = int(found[2])
    micros = -(-tokens * PRICE_MICROS_PER_MILLION // 1_000_000)
    assert costs == [f"training gpt-4o-mini-2024-07-18: ${micros / 1e6:.6f}"]
    assert ready["admin_key"] not in done.stdout + done.stderr
