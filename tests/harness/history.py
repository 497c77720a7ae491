"""What the topics say of the past, to a reader of what is committed: every position exactly once and ascending in each partition, and commit
records that tell the truth about it."""
import json
import struct
from array import array
from collections import defaultdict
from dataclasses import dataclass, field


def position(headers):
    """(generation, commit, ordinal) of a record, None for a tombstone."""
    return unpack(headers.get("millrace"))


def unpack(header):
    if header is None:
        return None
    assert header[0] == 2 and len(header) >= 30, f"not a header of ours: {header!r}"
    return struct.unpack_from(">QQQ", header, 2)


@dataclass
class History:
    changes: int = 0   # records of changes; a truncate counts once per partition
    records: int = 0   # with tombstones
    commits: int = 0   # commit records: journal transactions
    cut: int = 0       # of them, how many end inside a source transaction
    problems: list = field(default_factory=list)


class _Commits:
    """The commit records, and for each partition which of them names which end."""

    def __init__(self, journal, prefix, history):
        self.copied = set()  # indexes of records that end a part of a copy: topic by topic, not in the order of positions
        self.positions, self.ends = [], defaultdict(list)  # (topic, partition): [(offset of the end, index of the record)]
        for value in journal.values(f"{prefix}.commits"):
            self._take(json.loads(value), history)
        history.commits = len(self.positions)

    def _take(self, record, history):
        index, at = len(self.positions), tuple(record["position"])
        if record["seq"] != index + 1:
            history.problems.append(f"commit record {index + 1} says seq {record['seq']}")
        if self.positions and at < self.positions[-1]:
            history.problems.append(f"commit record {index + 1}: {at} after {self.positions[-1]}")
        self.positions.append(at)
        if record.get("move") == "copying":
            self.copied.add(index)
        history.cut += not record["boundary"]
        for topic, told in record["ends"].items():
            for partition, offset in told["p"].items():
                ends = self.ends[topic, int(partition)]
                if not ends or offset > ends[-1][0]:
                    ends.append((offset, index))
                elif offset < ends[-1][0]:
                    history.problems.append(f"commit record {index + 1}: the end of {topic}[{partition}] went back to {offset}")

    def window(self, index):
        """Positions of the record's transaction: above the first, up to the second."""
        if index in self.copied:
            return (0, 0, -1), (1 << 63, 0, 0)
        return self.positions[index - 1] if index else (0, 0, -1), self.positions[index]


class _Partition:
    """One partition as it is read, beside the ends that the commit records name."""

    def __init__(self, name, commits, ends, history):
        self.name, self.commits, self.ends, self.history = name, commits, ends, history
        self.next_end, self.last, self.low, self.high = 0, None, None, None
        self._window()

    def _window(self):
        if self.next_end < len(self.ends):
            self.low, self.high = self.commits.window(self.ends[self.next_end][1])

    def problem(self, offset, text):
        self.history.problems.append(f"{self.name}@{offset}: {text}")

    def take(self, offset, at):
        while self.next_end < len(self.ends) and offset > self.ends[self.next_end][0]:
            self.problem(offset, f"commit record {self.ends[self.next_end][1] + 1} names {self.ends[self.next_end][0]} as an end, which is no record")
            self.next_end += 1
            self._window()
        if self.next_end == len(self.ends):
            self.problem(offset, "no commit record covers it")
            return
        if at is not None:
            self._position(offset, at)
        if offset == self.ends[self.next_end][0]:
            self.next_end += 1
            self._window()

    def _position(self, offset, at):
        if self.last is not None and at <= self.last:
            self.problem(offset, f"{at} after {self.last}")
        if not self.low < at <= self.high:
            self.problem(offset, f"{at} is not in its transaction's ({self.low}, {self.high}]")
        self.last = at

    def end(self):
        if self.next_end < len(self.ends):
            self.problem("end", f"commit record {self.ends[self.next_end][1] + 1} names {self.ends[self.next_end][0]} as an end, which is not there")


def _hash(at):
    return (at[0] + at[1] * 0x9E3779B97F4A7C15 + at[2] * 0xC2B2AE3D27D4EB4F) & 0xFFFFFFFFFFFFFFFF


def _read_topic(journal, topic, count, commits, history):
    partitions = [_Partition(f"{topic}[{p}]", commits, commits.ends.get((topic, p), []), history) for p in range(count)]
    seen = array("Q")
    for partition, offset, header, grave in journal.positions(topic):
        at = None if grave else unpack(header)
        history.records += 1
        partitions[partition].take(offset, at)
        if at is not None:
            history.changes += 1
            seen.append(_hash(at))
        elif not grave:
            history.problems.append(f"{topic}[{partition}]@{offset}: no position")
        if len(history.problems) > 20:
            return
    for partition in partitions:
        partition.end()
    _check_twice(topic, count, seen, history)


def _check_twice(topic, count, seen, history):
    """No position stands twice, except a truncate's: once in each partition (ascending in each was checked)."""
    ordered, i = sorted(seen), 0
    while i < len(ordered):
        j = i + 1
        while j < len(ordered) and ordered[j] == ordered[i]:
            j += 1
        if j - i not in (1, count):
            history.problems.append(f"{topic}: a position stands {j - i} times")
        i = j


def read_history(journal, prefix):
    """Reads every topic of a pipeline (journal: a Kafka, or an EmbeddedJournal) whose topics still hold everything; what is wrong is in `problems` of what it returns."""
    history = History()
    commits = _Commits(journal, prefix, history)
    for topic, count in sorted(journal.topics().items()):
        if topic.startswith(prefix + ".") and topic not in (f"{prefix}.commits", f"{prefix}.schemas"):
            _read_topic(journal, topic, count, commits, history)
    return history


def check_history(journal, prefix):
    """The same; raises where something is wrong, otherwise returns how many changes there are."""
    history = read_history(journal, prefix)
    assert not history.problems, f"{len(history.problems)} problems in the topics, first: " + "; ".join(history.problems[:5])
    return history.changes
