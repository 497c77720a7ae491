"""What the topics say of the past: every position exactly once, ascending in each partition."""
import struct
from collections import defaultdict


def position(headers):
    """(generation, commit, ordinal) of a record, None for a tombstone."""
    header = headers.get("millrace")
    if header is None:
        return None
    assert header[0] == 1 and len(header) >= 26, f"not a header of ours: {header!r}"
    return struct.unpack(">QQQ", header[2:26])


def check_history(kafka, prefix):
    """Reads every data topic of a pipeline as a read_committed consumer does. Returns how many changes there are; raises where a
    position is repeated or out of order. A truncate stands once in each partition of its table."""
    changes, problems = 0, []
    for topic, partitions in sorted(kafka.topics().items()):
        if not topic.startswith(prefix + ".") or topic in (f"{prefix}.commits", f"{prefix}.schemas"):
            continue
        last, where = {}, defaultdict(list)
        for record in kafka.dump(topic):
            partition, offset, value, headers = record.partition, record.offset, record.value, record.headers
            at = position(headers)
            if value is None:
                continue
            changes += 1
            if at is None:
                problems.append(f"{topic}[{partition}]@{offset}: no position")
                continue
            if partition in last and at <= last[partition]:
                problems.append(f"{topic}[{partition}]@{offset}: {at} after {last[partition]}")
            last[partition] = at
            where[at].append(partition)
        for at, seen in where.items():
            if len(seen) > 1 and sorted(seen) != list(range(partitions)):
                problems.append(f"{topic}: {at} stands in partitions {sorted(seen)}")
    assert not problems, f"{len(problems)} problems in the topics, first: " + "; ".join(problems[:5])
    return changes
