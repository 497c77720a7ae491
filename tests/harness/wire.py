"""How a stream of bytes falls into messages: Kafka, HTTP, PostgreSQL, or just bytes. For proxy.py, one object per connection.

`split(buffer, answer)` takes every complete message from the front of the buffer (a bytearray) and returns them; what the protocol
does not explain (TLS) goes through as it is. A message of the server has the name of the request that it answers, where the
protocol pairs them."""
import re
import struct
from collections import deque

_KAFKA = {0: "Produce", 1: "Fetch", 2: "ListOffsets", 3: "Metadata", 10: "FindCoordinator", 17: "SaslHandshake", 18: "ApiVersions",
          19: "CreateTopics", 22: "InitProducerId", 24: "AddPartitionsToTxn", 26: "EndTxn", 32: "DescribeConfigs", 36: "SaslAuthenticate"}


class Message:
    def __init__(self, name, data, answer, tag=None):
        self.name, self.data, self.answer, self.tag = name, bytes(data), answer, tag

    def __repr__(self):
        return f"{'answer to ' if self.answer else ''}{self.name} ({len(self.data)} bytes)"


def _take(buffer, size):
    data = bytes(buffer[:size])
    del buffer[:size]
    return data


class Bytes:
    """No messages: whatever arrives."""

    def split(self, buffer, answer):
        return [Message("bytes", _take(buffer, len(buffer)), answer)] if buffer else []

    def dropped(self, message):
        """The message will not arrive."""


class Kafka(Bytes):
    """Requests are named by their api (EndTxn, Produce ...), unknown ones "api 37"."""

    def __init__(self):
        self._names, self._plain = {}, True

    def split(self, buffer, answer):
        found = []
        while len(buffer) >= 14 or (answer and len(buffer) >= 8):
            size, = struct.unpack_from(">i", buffer)
            if not self._plain or not 4 <= size <= 200 << 20:
                self._plain = False  # a TLS hello, or what follows SASL tokens of old
                return found + super().split(buffer, answer)
            if len(buffer) < 4 + size:
                break
            found.append(self._message(_take(buffer, 4 + size), answer))
        return found

    def _message(self, data, answer):
        if answer:
            tag, = struct.unpack_from(">i", data, 4)
            return Message(self._names.pop(tag, "unknown"), data, True, tag)
        api, _version, tag = struct.unpack_from(">hhi", data, 4)
        self._names[tag] = name = _KAFKA.get(api, f"api {api}")
        return Message(name, data, False, tag)

    def dropped(self, message):
        if not message.answer:
            self._names.pop(message.tag, None)

    @staticmethod
    def end_error(data, error):
        """An answer to EndTxn that tells an error (as of version 0 to 2)."""
        return data[:12] + struct.pack(">h", error) + data[14:]

    @staticmethod
    def produce_error(data, error):
        """An answer to Produce that tells an error for its first partition (as of version 3 to 8)."""
        name, = struct.unpack_from(">h", data, 12)
        at = 14 + name + 4 + 4
        return data[:at] + struct.pack(">hq", error, -1) + data[at + 10:]


class Http(Bytes):
    """Named "GET /subjects". Answers are whole: head and body."""

    def __init__(self):
        self._asked = deque()

    def split(self, buffer, answer):
        found = []
        while True:
            head = buffer.find(b"\r\n\r\n")
            if head < 0:
                return found
            size = self._body(buffer, head + 4)
            if size is None or len(buffer) < head + 4 + size:
                return found
            data = _take(buffer, head + 4 + size)
            if answer:
                found.append(Message(self._asked.popleft() if self._asked else "unknown", data, True))
                continue
            method, path = data.split(b" ", 2)[:2]
            self._asked.append(f"{method.decode()} {path.decode()}")
            found.append(Message(self._asked[-1], data, False))

    def dropped(self, message):
        if not message.answer and message.name in self._asked:
            self._asked.remove(message.name)

    @staticmethod
    def _body(buffer, begin):
        """Its length, None while that is not known."""
        head = bytes(buffer[:begin]).lower()
        length = re.search(rb"content-length: *(\d+)", head)
        if length:
            return int(length[1])
        if b"transfer-encoding: chunked" not in head:
            return 0
        end = buffer.find(b"\r\n0\r\n\r\n", begin - 2)
        return None if end < 0 else end + 7 - begin

    @staticmethod
    def answer(status, body=b"", more=b""):
        return (b"HTTP/1.1 %d Whatever\r\nContent-Type: application/json\r\n" % status) + more + (
            b"Content-Length: %d\r\n\r\n" % len(body)) + body


class Postgres(Bytes):
    """Named by the protocol's letters: Q, P, B, C, d ... (`having` tells what stands in them); "startup", "ssl", "cancel"."""

    _FIRST = {80877103: "ssl", 80877104: "ssl", 80877102: "cancel"}

    def __init__(self):
        self._started, self._ssl_asked, self._plain = False, False, True

    def split(self, buffer, answer):
        found = []
        while buffer:
            if not self._plain:
                return found + super().split(buffer, answer)
            message = self._answer(buffer) if answer else self._request(buffer)
            if message is None:
                break
            found.append(message)
        return found

    def _request(self, buffer):
        if self._started:
            return self._letter(buffer, False)
        if len(buffer) < 8:
            return None
        size, code = struct.unpack_from(">ii", buffer)
        if len(buffer) < size:
            return None
        name = self._FIRST.get(code, "startup")
        self._ssl_asked, self._started = name == "ssl", name == "startup"
        return Message(name, _take(buffer, size), False)

    def _answer(self, buffer):
        if not self._ssl_asked:
            return self._letter(buffer, True)
        self._ssl_asked, self._plain = False, buffer[:1] != b"S"
        return Message("ssl", _take(buffer, 1), True)

    @staticmethod
    def _letter(buffer, answer):
        if len(buffer) < 5:
            return None
        size, = struct.unpack_from(">i", buffer, 1)
        return Message(chr(buffer[0]), _take(buffer, 1 + size), answer) if len(buffer) >= 1 + size else None
