"""Deaths of capture, sinks, brokers, registry, databases and a machine's power under mixed load: nothing is lost and nothing comes twice."""
import os

from harness.clock import SLOW
from storming.storm import Options, Storm


def storm(world, **options):
    """One that fails is printed with its seed, its story and the command that repeats it. `tests/storm` takes a new seed each time."""
    seed = int(os.environ.get("MILLRACE_STORM_SEED") or 2026)
    print(f"     seed {seed}\n     " + Storm(world, Options(seed=seed, **options)).run().replace("\n", "\n     "), flush=True)


def test_a_hundred_deaths(world):
    storm(world, kills=100, mean_seconds=1.0)


def test_two_hundred_deaths_on_one_machine(world):
    storm(world, journal="embedded", kills=200)


test_a_hundred_deaths.timeout_s = test_two_hundred_deaths_on_one_machine.timeout_s = 600 * SLOW
