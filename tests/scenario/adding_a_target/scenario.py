"""docs/adding-a-target.md does what it says: its blocks, run in a copy of the tree, make a kind of target that walks the contract."""
import subprocess

from harness.rundir import PROJECT


def test_the_page_is_followed_to_the_letter(world):
    log = world.run.sub("page").path / "log"
    with open(log, "wb") as out:
        code = subprocess.run([PROJECT / "tests" / "adding-a-target"], stdin=subprocess.DEVNULL, stdout=out, stderr=out).returncode
    assert code == 0, log.read_text(errors="replace")[-4000:]


test_the_page_is_followed_to_the_letter.timeout_s = 300
