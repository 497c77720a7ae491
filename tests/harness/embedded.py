"""An embedded journal read without Millrace: what is committed in its file, for harness/history.py. The form of chunks is that of
journal/embedded/chunk.h, read once more, so that writer and reader cannot be wrong together."""
import sqlite3

_KEY, _VALUE, _HEADERS = 1, 2, 4
_NAMES = {1: "millrace", 2: "__debezium.oldkey", 3: "__debezium.newkey"}


def _varint(data, at):
    n = shift = 0
    while True:
        byte = data[at]
        at += 1
        n |= (byte & 127) << shift
        if byte < 128:
            return n, at
        shift += 7


def _bytes(data, at):
    n, at = _varint(data, at)
    return data[at:at + n], at + n


def _headers(data):
    count, at = _varint(data, 0)
    headers = {}
    for _ in range(count):
        number, at = data[at], at + 1
        name = _NAMES.get(number)
        if not number:
            name, at = _bytes(data, at)
            name = name.decode()
        n, at = _varint(data, at)
        headers[name], at = (data[at:at + n - 1], at + n - 1) if n else (None, at)
    return headers


def records(first, data):
    """(offset, value or None, headers) of a chunk."""
    at, offset = 0, first - 1
    while at < len(data):
        flags, at = data[at], at + 1
        step, at = _varint(data, at)
        offset += step
        _time, at = _varint(data, at)
        value = headers = None
        if flags & _KEY:
            _, at = _bytes(data, at)
        if flags & _VALUE:
            value, at = _bytes(data, at)
        if flags & _HEADERS:
            headers, at = _bytes(data, at)
        yield offset, value, _headers(headers) if headers else {}


class EmbeddedJournal:
    """`path`: the journal's file. Methods as those of Kafka."""

    def __init__(self, path):
        self.path = path

    def _rows(self, query, *arguments):
        connection = sqlite3.connect(self.path)
        try:
            yield from connection.execute(query, arguments)
        finally:
            connection.close()

    def topics(self):
        return dict(self._rows("select name, partitions from topics"))

    def _records(self, topic):
        for partition, first, data in self._rows(
                "select p.partition, c.first, c.records from topics t join partitions p on p.topic = t.id"
                " join chunks c on c.part = p.id and c.last < p.next where t.name = ? order by p.partition, c.last", topic):
            for record in records(first, data):
                yield partition, *record

    def values(self, topic):
        return (value for _partition, _offset, value, _headers in self._records(topic))

    def positions(self, topic):
        """(partition, offset, header "millrace" or None, whether the value is null)"""
        return ((partition, offset, headers.get("millrace"), value is None) for partition, offset, value, headers in self._records(topic))
