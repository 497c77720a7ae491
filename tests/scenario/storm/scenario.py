"""A hundred deaths of capture, sinks, brokers, registry and databases under mixed load: nothing is lost and nothing comes twice."""
import os

from harness.clock import SLOW
from storming.storm import Options, Storm


def test_a_hundred_deaths(world):
    """One that fails is printed with its seed, its story and the command that repeats it. `tests/storm` takes a new seed each time."""
    seed = int(os.environ.get("MILLRACE_STORM_SEED") or 2026)
    print(f"     seed {seed}\n     " + Storm(world, Options(seed=seed, kills=100, mean_seconds=1.0)).run().replace("\n", "\n     "), flush=True)


test_a_hundred_deaths.timeout_s = 600 * SLOW
