"""The only place that waits on time: a condition, a deadline, and a sentence for the one who reads the failure."""
import os
import time

# On a slow or shared machine all deadlines stretch by this factor.
SLOW = float(os.environ.get("MILLRACE_TEST_SLOW", "1"))


class Late(AssertionError):
    """A condition did not come true before its deadline."""


def now():
    return time.monotonic()


def wait_until(predicate, deadline_s, what, every_s=0.05, ignore=()):
    """Polls until predicate() is true and returns its value; raises Late after deadline_s seconds.
    Exceptions of the types in `ignore` count as "not yet"."""
    start, last = now(), None
    while True:
        try:
            value = predicate()
            if value:
                return value
            last = repr(value)
        except ignore as e:
            last = f"{type(e).__name__}: {e}"
        if now() - start >= deadline_s * SLOW:
            raise Late(f"{what}: not within {deadline_s * SLOW:g} s (last seen: {str(last)[:500]})")
        time.sleep(every_s)
