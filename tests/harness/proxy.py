"""A TCP proxy in front of one server. It knows the protocol's messages (wire.py), so that a test can drop, hold, delay, cut or rewrite
exactly the one it means: "the third answer to an EndTxn is lost", "the COMMIT arrives, and then the connection is gone".

    proxy = Proxy(server.port, wire.Kafka)
    lost = proxy.drop("EndTxn", answer=True, after=2)
    ...
    lost.wait(30)

Without rules it passes everything on. Beside rules, the whole line can be frozen, slowed down, cut, or refuse connections."""
import fnmatch
import re
import select
import socket
import struct
import threading
import time
from collections import Counter, deque

from . import wire
from .clock import wait_until
from .process import free_port

_PENDING_MAX = 4 << 20


class Rule:
    """What happens to some messages. `seen`: how many it was asked about; `acted`: how many it took."""

    def __init__(self, action, name, answer, after, times, having, arg):
        self.action, self.name, self.answer, self.after, self.times = action, name, answer, after, times
        self.having, self.arg = having, arg
        self.seen = self.acted = 0
        self.on, self.released = True, threading.Event()

    def takes(self, message):
        """@locks the proxy's"""
        if not self.on or message.answer != self.answer or not fnmatch.fnmatchcase(message.name, self.name):
            return False
        if self.having is not None and self.having not in message.data:
            return False
        self.seen += 1
        if self.seen <= self.after or (self.times is not None and self.acted >= self.times):
            return False
        self.acted += 1
        return True

    def wait(self, deadline_s=30, acted=1):
        """Until it has taken so many messages."""
        wait_until(lambda: self.acted >= acted, deadline_s, f"{self.action} {'answer to ' if self.answer else ''}{self.name}", every_s=0.005)

    def release(self):
        """Lets go of what is held, and holds no more."""
        self.on = False
        self.released.set()

    end = release


class _Line:
    """One connection: two threads, one for each direction. The last one closes both sockets."""

    def __init__(self, proxy, client):
        self.proxy, self.client, self.server = proxy, client, None
        self.wire, self.dead, self.reset = proxy.wire(), False, False
        self.threads, self.lock = 2, threading.Lock()
        self.mute, self.answered = None, threading.Event()  # a request, whose answer and all others do not arrive any more
        self.wake_read, self.wake_write = socket.socketpair()

    def run(self):
        """Connects and passes on what the client says; what the server says has a thread of its own."""
        self.proxy._thaw_wait(self, False)
        try:
            self.server = socket.create_connection(("127.0.0.1", self.proxy.target), timeout=10)
        except OSError:
            self.threads, self.reset = 1, True
            return self._leave()
        for s in (self.client, self.server):
            s.setblocking(False)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._pump, args=(self.server, self.client, True), daemon=True).start()
        self._pump(self.client, self.server, False)

    def cut(self, reset=True):
        self.dead, self.reset = True, self.reset or reset
        try:
            self.wake_write.send(b"x")
        except OSError:
            pass

    def _leave(self):
        with self.lock:
            self.threads -= 1
            last = self.threads <= 0
        if not last:
            return
        for s in (self.client, self.server):
            if s is not None and self.reset:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if s is not None:
                s.close()
        self.wake_read.close()
        self.wake_write.close()
        self.proxy._gone(self)

    def _ready(self, sock, events, timeout_s):
        poll = select.poll()
        poll.register(self.wake_read, select.POLLIN)
        if sock is not None:
            poll.register(sock, events)
        found = poll.poll(None if timeout_s is None else max(0, timeout_s * 1000))
        return any(fd == sock.fileno() for fd, _ in found) if sock is not None else False

    def _pump(self, src, dst, answer):
        buffer, pending, waiting, open_ = bytearray(), deque(), 0, True
        try:
            while not self.dead and (open_ or pending):
                self.proxy._thaw_wait(self, answer)
                due = pending[0][0] - time.monotonic() if pending else None
                if self._ready(src if open_ and waiting < _PENDING_MAX else None, select.POLLIN, due):
                    data = self._receive(src)
                    open_ = data != b""
                    buffer += data or b""
                    self.proxy._thaw_wait(self, answer)
                    for message in self.wire.split(buffer, answer):
                        pending.append((time.monotonic() + self.proxy.latency_s, message))
                        waiting += len(message.data)
                while pending and pending[0][0] <= time.monotonic() and not self.dead:
                    message = pending.popleft()[1]
                    waiting -= len(message.data)
                    self._pass(dst, message)
            if not self.dead:
                self._send(dst, bytes(buffer))
                dst.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        finally:
            if answer:
                self.cut(reset=False)  # the server has said its last word
            self._leave()

    @staticmethod
    def _receive(src):
        """b"": the end; None: nothing now."""
        try:
            return src.recv(1 << 18)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _send(self, dst, data):
        view, budget = memoryview(data), self.proxy.cut_at.get(dst is self.client)
        if budget is not None and len(view) >= budget:
            view = view[:budget]
            del self.proxy.cut_at[dst is self.client]
            self.cut()
        elif budget is not None:
            self.proxy.cut_at[dst is self.client] = budget - len(view)
        while view:
            try:
                view = view[dst.send(view):]
            except BlockingIOError:
                if not self._ready(dst, select.POLLOUT, None) and self.dead:
                    return

    def _pass(self, dst, message):
        if message.answer and self.mute is not None:
            return self.answered.set() if message.tag == self.mute.tag else None
        rule = self.proxy._rule_for(message)
        if rule is None:
            return self._send(dst, message.data)
        if rule.action in ("drop", "cut"):
            self.wire.dropped(message)
        if rule.action == "delay":
            time.sleep(rule.arg)
        if rule.action == "hold":
            while not rule.released.wait(0.05) and not self.proxy.closed:
                pass
        if rule.action == "half":
            self._send(dst, message.data[:len(message.data) // 2])
        if rule.action == "trickle":
            self._trickle(dst, message.data, rule.arg)
        if rule.action == "rewrite":
            self._send(dst, rule.arg(message.data))
        if rule.action == "cut_after" and not message.answer:
            self.mute = message
        if rule.action in ("delay", "hold", "cut_after"):
            self._send(dst, message.data)
        if rule.action == "cut_after":  # a reset would overtake what was just sent
            self.answered.wait(2 if self.mute else 0.05)
        if rule.action in ("cut", "cut_after", "half"):
            self.cut()

    def _trickle(self, dst, data, seconds):
        pieces = 20
        for i in range(pieces):
            self._send(dst, data[len(data) * i // pieces:len(data) * (i + 1) // pieces])
            time.sleep(seconds / pieces)


class Proxy:
    """`port` is where clients connect; `target` the server's port, which may change (set it, then cut()). `cut_at`: {False: n} cuts the
    connection after n more bytes of requests, {True: n} of answers."""

    def __init__(self, target, protocol=wire.Bytes, port=None):
        self.target, self.wire, self.port = target, protocol, port or free_port()
        self.latency_s, self.cut_at, self.closed = 0, {}, False
        self.seen = Counter()  # (name, is an answer): how many
        self._rules, self._lines, self._lock = [], set(), threading.Lock()
        self._flows = {False: threading.Event(), True: threading.Event()}
        self._listener = None
        self.thaw()
        self.accept()

    # ---- the whole line ----------------------------------------------------------------------------------------------
    def accept(self):
        """Takes connections (again)."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def refuse(self):
        """Nobody listens any more, and every connection is reset."""
        listener, self._listener = self._listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def freeze(self, requests=True, answers=True):
        """Half-open: connections stay and are taken, and nothing comes through; it arrives after thaw()."""
        for answer, wanted in ((False, requests), (True, answers)):
            if wanted:
                self._flows[answer].clear()

    def thaw(self):
        for flow in self._flows.values():
            flow.set()

    def reset(self):
        """Resets every connection; new ones are taken."""
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            line.cut()

    def close(self):
        self.closed = True
        self.thaw()
        if self._listener:
            self.refuse()
        self.reset()

    def through(self, url):
        """A server's URL, by way of this proxy."""
        return re.sub(r"(127\.0\.0\.1|localhost):\d+", f"127.0.0.1:{self.port}", url, count=1)

    # ---- single messages ---------------------------------------------------------------------------------------------
    def _add(self, action, name, answer, after, times, having, arg=None):
        rule = Rule(action, name, answer, after, times, having, arg)
        with self._lock:
            self._rules.append(rule)
        return rule

    def drop(self, name, answer=False, after=0, times=1, having=None):
        """The message is lost; the connection goes on. `name`: may hold wildcards. `after`: so many pass first. `times`: None = all
        from then on. `having`: only messages that hold these bytes."""
        return self._add("drop", name, answer, after, times, having)

    def hold(self, name, answer=False, after=0, times=1, having=None):
        """Kept until release(); what follows on the connection waits behind it. It arrives even if the client has hung up."""
        return self._add("hold", name, answer, after, times, having)

    def delay(self, name, seconds, answer=False, after=0, times=1, having=None):
        return self._add("delay", name, answer, after, times, having, seconds)

    def cut(self, name=None, answer=False, after=0, times=1, having=None):
        """The connection is reset instead of the message (without a name: all connections, now)."""
        return self._add("cut", name, answer, after, times, having) if name else self.reset()

    def cut_after(self, name, answer=False, after=0, times=1, having=None):
        """The message arrives and is acted upon; then the connection is reset, without an answer to it."""
        return self._add("cut_after", name, answer, after, times, having)

    def half(self, name, answer=False, after=0, times=1, having=None):
        """Half of the message arrives, then the connection is reset."""
        return self._add("half", name, answer, after, times, having)

    def trickle(self, name, seconds, answer=False, after=0, times=1, having=None):
        """It arrives in pieces over that time."""
        return self._add("trickle", name, answer, after, times, having, seconds)

    def rewrite(self, name, function, answer=False, after=0, times=1, having=None):
        """function(bytes of the message) -> the bytes that arrive instead."""
        return self._add("rewrite", name, answer, after, times, having, function)

    def clear(self):
        """Ends all rules."""
        with self._lock:
            rules, self._rules = self._rules, []
        for rule in rules:
            rule.release()

    # ---- inside ------------------------------------------------------------------------------------------------------
    def _rule_for(self, message):
        with self._lock:
            self.seen[message.name, message.answer] += 1
            return next((rule for rule in self._rules if rule.takes(message)), None)

    def _thaw_wait(self, line, answer):
        while not self._flows[answer].wait(0.1) and not line.dead and not self.closed:
            pass

    def _serve(self, listener):
        while not self.closed:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            line = _Line(self, client)
            with self._lock:
                self._lines.add(line)
            threading.Thread(target=line.run, daemon=True).start()

    def _gone(self, line):
        with self._lock:
            self._lines.discard(line)
