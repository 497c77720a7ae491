"""Runs tests side by side: a lane is a process of its own, with servers of its own, that is handed one test after the other."""
import multiprocessing
import os
import signal
from multiprocessing.connection import wait

from . import process


def _lane(number, of, runner, pipe, setup, entries):
    process.belong_to(runner, signal.SIGTERM)
    process.become_lane(number, of)
    with setup(number) as work:
        pipe.send(None)
        while (index := pipe.recv()) is not None:
            pipe.send(work(entries[index]))
    os._exit(0)  # a thread that a failed test left behind holds nobody up


class _Lane:
    def __init__(self, number, of, setup, entries):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.index = None
        self.process = context.Process(target=_lane, args=(number, of, process.own_pid(), theirs, setup, entries))
        self.process.start()
        theirs.close()

    def hand(self, index):
        """The next test, or None: there are no more."""
        self.index = index
        self.pipe.send(index)

    def end(self):
        self.process.terminate()
        self.process.join(60)
        self.process.kill()


def run(entries, jobs, setup, tell, died):
    """Calls work(entry) for each of `entries` in `jobs` processes and tell(its result) here, in the order in which they end.
    `setup(lane number)`: a context manager that gives a lane its `work`. died(entry): a lane died over this one (None: after
    its last); the others go on, and when none is left the rest is told to died, too."""
    left = list(reversed(range(len(entries))))
    lanes = [_Lane(n, jobs, setup, entries) for n in range(min(jobs, len(entries)))]
    busy = {lane.pipe: lane for lane in lanes}
    try:
        while busy:
            for pipe in wait(list(busy)):
                lane = busy[pipe]
                try:
                    result = pipe.recv()
                except EOFError:
                    busy.pop(pipe)
                    lane.process.join(60)
                    if lane.index is not None or lane.process.exitcode:
                        died(entries[lane.index] if lane.index is not None else None)
                    continue
                if lane.index is not None:
                    tell(result)
                lane.hand(left.pop() if left else None)
        for index in reversed(left):
            died(entries[index])
    finally:
        for lane in lanes:
            lane.end()
