"""Servers that mean harm: a PostgreSQL that answers with one kind of poison, and a registry that does."""
import gzip
import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def message(letter, body, length=None):
    return letter + struct.pack(">I", len(body) + 4 if length is None else length) + body


def field(name):
    return name + b"\0" + struct.pack(">IhIhih", 0, 0, 25, -1, -1, 0)


_HELLO = (message(b"R", struct.pack(">i", 0)) + b"".join(message(b"S", k + b"\0" + v + b"\0") for k, v in (
    (b"server_version", b"15.1"), (b"server_encoding", b"UTF8"), (b"client_encoding", b"UTF8"), (b"standard_conforming_strings", b"on")))
    + message(b"K", struct.pack(">ii", 1, 2)) + message(b"Z", b"I"))
_ROW = message(b"T", struct.pack(">h", 1) + field(b"a"))


def _notices():
    while True:
        yield message(b"N", b"SNOTICE\0C00000\0M" + b"n" * 20000 + b"\0\0")


def _answers():
    while True:
        yield message(b"C", b"SELECT 0\0") * 200


def _drops(data, pause_s):
    for byte in data * 1000:
        yield bytes([byte])
        time.sleep(pause_s)


# What it says after a login. (Before it: what is told from the first byte on.)
POISONS = {
    "length_of_4_gb": lambda: [_ROW, message(b"D", b"\0\1" * 1000, 0xFFFFFFF0)],
    "row_of_2_gb": lambda: [_ROW, message(b"D", struct.pack(">hi", 1, 0x7FFFFF00) + b"x" * 100000, 0x7FFFFFF0)],
    "name_of_10_mb": lambda: [message(b"T", struct.pack(">h", 1) + field(b"x" * 10_000_000)), message(b"C", b"SELECT 0\0"), message(b"Z", b"I")],
    "error_of_10_mb": lambda: [message(b"E", b"SERROR\0C42P01\0M" + b"e\n\x1b[31m" * 1_500_000 + b"\0\0"), message(b"Z", b"I")],
    "columns_without_end": lambda: [message(b"T", struct.pack(">h", 32767) + field(b"x"))],
    "endless_notices": _notices,
    "garbage": lambda: [bytes(range(256)) * 100],
    "nothing_asked_for": lambda: [message(b"W", b"\0\0\0"), message(b"G", b"\0\0\0"), message(b"Z", b"I")],
    "no_columns": lambda: [message(b"T", struct.pack(">h", 0)), message(b"D", struct.pack(">h", 0)), message(b"C", b"SELECT 1\0"), message(b"Z", b"I")] * 50,
    "no_rows": lambda: [_ROW, message(b"C", b"SELECT 0\0"), message(b"Z", b"I")] * 50,
    "one_null": lambda: [_ROW, message(b"D", struct.pack(">hi", 1, -1)), message(b"C", b"SELECT 1\0"), message(b"Z", b"I")] * 50,
    "rows_asked_for": lambda: [message(b"G", b"\0\0\0"), message(b"Z", b"I")],
    "endless_answers": _answers,
    "slow_drops": lambda: _drops(_ROW, 0.3),
    "silence": lambda: iter(lambda: time.sleep(1) or b"", None),
}


class RoguePostgres:
    """Lets everybody in, then poisons the answer to the first command."""

    def __init__(self, poison, tls=b"N"):
        self.poison, self.tls, self.asked = poison, tls, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, **options):
        more = "&".join(f"{k}={v}" for k, v in options.items())
        return f"postgres://u:canary-of-{self.port}@127.0.0.1:{self.port}/d" + ("?" + more if more else "")

    def close(self):
        self.listener.close()

    def _serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        try:
            while True:
                size, code = struct.unpack(">ii", client.recv(8, socket.MSG_WAITALL))
                client.recv(size - 8, socket.MSG_WAITALL)
                if code == 80877103:  # SSLRequest
                    client.sendall(self.tls)
                elif code != 80877104:
                    break
            client.sendall(_HELLO)
            client.recv(1)
            self.asked += 1
            for piece in POISONS[self.poison]():
                client.sendall(piece)
            while client.recv(1 << 20):
                pass
        except (OSError, struct.error):
            pass
        finally:
            client.close()


def _nested(depth):
    return '{"type":"array","items":' * depth + '"int"' + "}" * depth


ANSWERS = {
    "gzip_bomb": (200, gzip.compress(b"[" + b" " * 200_000_000 + b"]", 9), {"Content-Encoding": "gzip"}),
    "redirect": (302, b"", {"Location": "http://169.254.169.254/latest/meta-data/"}),
    "huge": (200, b'{"id": 1, "x": "' + b"y" * 40_000_000 + b'"}', {}),
    "deep": (200, b"[" * 1_000_000, {}),
    "deep_schema": (200, json.dumps({"id": 1, "schema": _nested(5000)}).encode(), {}),
    "recursive_schema": (200, json.dumps({"id": 1, "schema": '{"type":"record","name":"r","fields":[{"name":"r","type":"r"}]}'}).encode(), {}),
    "not_json": (200, b"\xff\xfe<html>", {}),
    "wrong_types": (200, b'{"id": "1", "schema": 5, "version": [], "subject": {}}', {}),
    "negative_id": (200, b'{"id": -1}', {}),
}


class RogueRegistry:
    """Gives the same answer to everything; `kind` may change. `asked`: the paths, as they came."""

    def __init__(self, kind):
        self.kind, self.asked = kind, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                outer.asked.append(self.path)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, body, headers = ANSWERS[outer.kind]
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    pass
            do_GET = do_POST = answer

            def log_message(self, *_):
                pass
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
