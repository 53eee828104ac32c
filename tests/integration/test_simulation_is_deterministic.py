"""The simulator's own promise: a seed is a history, in whatever process and with whatever hash seed."""

import concurrent.futures
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SEEDS = 15
PROGRAM = f"""
from tests.simulation import plans, simulate
simulate.quiet()
for seed in range(1, {SEEDS + 1}):
    result = simulate.run(plans.drawn(seed))
    print(seed, format(result.hash, "08x"), result.turns, result.operations, result.searches)
"""


def _traces(hash_seed: str) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, check=True, text=True
    )
    return done.stdout.splitlines()


@pytest.mark.timeout(600)  # two processes of a few seconds each, on a machine that may be busy
def test_the_same_seed_gives_the_same_history_in_another_process_with_another_hash_seed():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first, second = pool.map(_traces, ("1", "4242"))

    assert len(first) == SEEDS
    assert first == second
