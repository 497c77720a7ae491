"""What tests ask a Kafka directly, by the system's librdkafka through ctypes: exact bytes for keys, values and headers, and
read_committed to the very end of every partition, neither of which a text tool gives."""
import ctypes as c
import itertools
from collections import namedtuple

from .clock import now, wait_until

Record = namedtuple("Record", "partition offset key value headers timestamp_ms")

_rk = None
_CONF_OK, _PRODUCER, _CONSUMER = 0, 0, 1
_PARTITION_EOF, _NO_ERROR, _TOPIC_EXISTS, _UNKNOWN_TOPIC = -191, 0, 36, 3
_BEGINNING, _END = -2, -1


class _Message(c.Structure):
    _fields_ = [("err", c.c_int), ("rkt", c.c_void_p), ("partition", c.c_int32), ("payload", c.c_void_p), ("len", c.c_size_t),
                ("key", c.c_void_p), ("key_len", c.c_size_t), ("offset", c.c_int64), ("private", c.c_void_p)]


class _MetaBroker(c.Structure):
    _fields_ = [("id", c.c_int32), ("host", c.c_char_p), ("port", c.c_int)]


class _MetaPartition(c.Structure):
    _fields_ = [("id", c.c_int32), ("err", c.c_int), ("leader", c.c_int32), ("replica_cnt", c.c_int), ("replicas", c.c_void_p),
                ("isr_cnt", c.c_int), ("isrs", c.c_void_p)]


class _MetaTopic(c.Structure):
    _fields_ = [("topic", c.c_char_p), ("partition_cnt", c.c_int), ("partitions", c.POINTER(_MetaPartition)), ("err", c.c_int)]


class _Metadata(c.Structure):
    _fields_ = [("broker_cnt", c.c_int), ("brokers", c.POINTER(_MetaBroker)), ("topic_cnt", c.c_int),
                ("topics", c.POINTER(_MetaTopic)), ("orig_broker_id", c.c_int32), ("orig_broker_name", c.c_char_p)]


def _library():
    global _rk
    if _rk is None:
        _rk = c.CDLL("librdkafka.so.1")
        pointers = ("conf_new new topic_partition_list_new topic_partition_list_add consumer_poll NewTopic_new DeleteTopic_new"
                    " AdminOptions_new queue_new queue_poll event_CreateTopics_result event_DeleteTopics_result"
                    " CreateTopics_result_topics DeleteTopics_result_topics queue_get_consumer").split()
        for name in pointers:
            getattr(_rk, "rd_kafka_" + name).restype = c.c_void_p
        for name in ("err2str", "topic_result_error_string", "topic_result_name", "event_error_string"):
            getattr(_rk, "rd_kafka_" + name).restype = c.c_char_p
        _rk.rd_kafka_message_timestamp.restype = c.c_int64
        _rk.rd_kafka_consume_batch_queue.restype = c.c_ssize_t
    return _rk


def _check(error, what):
    if error:
        raise RuntimeError(f"{what}: {_library().rd_kafka_err2str(error).decode()}")


class _Client:
    """An rd_kafka_t that is destroyed at the end of its with block."""

    def __init__(self, brokers, kind, **settings):
        rk, reason = _library(), c.create_string_buffer(512)
        conf = c.c_void_p(rk.rd_kafka_conf_new())
        settings = {"bootstrap.servers": brokers, "log_level": "0"} | {k.replace("_", "."): v for k, v in settings.items()}
        for key, value in settings.items():
            if rk.rd_kafka_conf_set(conf, key.encode(), str(value).encode(), reason, c.c_size_t(512)) != _CONF_OK:
                raise ValueError(reason.value.decode())
        self.handle = c.c_void_p(rk.rd_kafka_new(kind, conf, reason, c.c_size_t(512)))
        if not self.handle:
            raise RuntimeError(reason.value.decode())

    def __enter__(self):
        return self.handle

    def __exit__(self, *_):
        _library().rd_kafka_destroy(self.handle)


def _metadata(handle, timeout_ms):
    """(ports of the brokers, {topic: partition count})"""
    rk, found = _library(), c.POINTER(_Metadata)()
    _check(rk.rd_kafka_metadata(handle, 1, None, c.byref(found), timeout_ms), "metadata")
    try:
        meta = found.contents
        ports = {meta.brokers[i].port for i in range(meta.broker_cnt)}
        names = {meta.topics[i].topic.decode(): meta.topics[i].partition_cnt for i in range(meta.topic_cnt)}
        return ports, names
    finally:
        rk.rd_kafka_metadata_destroy(found)


def broker_ports(brokers, timeout_ms=5000):
    """The ports of the brokers the cluster reports; empty if it does not answer."""
    with _Client(brokers, _PRODUCER) as handle:
        try:
            return _metadata(handle, timeout_ms)[0]
        except RuntimeError:
            return set()


def topics(brokers, timeout_ms=10000):
    """{topic: number of partitions}"""
    with _Client(brokers, _PRODUCER) as handle:
        return _metadata(handle, timeout_ms)[1]


def _bytes(pointer, length):
    return c.string_at(pointer, length) if pointer else None


def _headers(message):
    rk, headers, found = _library(), c.c_void_p(), {}
    if rk.rd_kafka_message_headers(message, c.byref(headers)):
        return found
    name, value, size, i = c.c_char_p(), c.c_void_p(), c.c_size_t(), 0
    while not rk.rd_kafka_header_get_all(headers, c.c_size_t(i), c.byref(name), c.byref(value), c.byref(size)):
        found[name.value.decode()] = _bytes(value.value, size.value)
        i += 1
    return found


def _assign(handle, topic, partitions, offset):
    """All partitions of a topic, read from `offset` on."""
    rk = _library()
    wanted = c.c_void_p(rk.rd_kafka_topic_partition_list_new(partitions))
    for partition in range(partitions):
        entry = rk.rd_kafka_topic_partition_list_add(wanted, topic.encode(), partition)
        # rd_kafka_topic_partition_t: char *topic; int32_t partition; int64_t offset
        c.cast(entry + 16, c.POINTER(c.c_int64))[0] = offset
    _check(rk.rd_kafka_assign(handle, wanted), f"assign {topic}")
    rk.rd_kafka_topic_partition_list_destroy(wanted)
    rk.rd_kafka_poll_set_consumer(handle)


def _read(brokers, topic, isolation, deadline_s, make):
    """Yields make(message, pointer) of every message, up to the end of each partition as it is when the reading gets there."""
    rk, pointer_type = _library(), c.POINTER(_Message)
    with _Client(brokers, _CONSUMER, isolation_level=isolation, enable_partition_eof="true", enable_auto_commit="false",
                 enable_auto_offset_store="false", auto_offset_reset="error", group_id="millrace-test-read",
                 check_crcs="true", fetch_wait_max_ms=50) as handle:
        # A broker learns of a new topic a moment later than its creator.
        count = wait_until(lambda: _metadata(handle, 10000)[1].get(topic), 10, f"the topic {topic} is known",
                           ignore=(RuntimeError,))
        _assign(handle, topic, count, _BEGINNING)
        open_partitions, quiet_since = set(range(count)), now()
        while open_partitions:
            pointer = rk.rd_kafka_consumer_poll(handle, 200)
            if not pointer:
                if now() - quiet_since > deadline_s:
                    raise TimeoutError(f"reading {topic}: nothing for {deadline_s} s, open partitions {open_partitions}")
                continue
            quiet_since, message = now(), c.c_void_p(pointer)
            try:
                m = c.cast(message, pointer_type).contents
                if m.err == _PARTITION_EOF:
                    open_partitions.discard(m.partition)
                    continue
                _check(m.err, f"reading {topic}[{m.partition}]")
                if m.partition not in open_partitions:
                    continue
                made = make(m, message)
            finally:
                rk.rd_kafka_message_destroy(message)
            yield made
        rk.rd_kafka_consumer_close(handle)


def _record(m, message):
    return Record(m.partition, m.offset, _bytes(m.key, m.key_len), _bytes(m.payload, m.len), _headers(message),
                  _library().rd_kafka_message_timestamp(message, None))


def kafka_read(brokers, topic, isolation="read_committed", deadline_s=60):
    """Yields every Record of a topic, up to the end of each partition as it is when the reading gets there (read_committed:
    up to the last stable offset). Keys, values and header values are bytes, or None."""
    yield from _read(brokers, topic, isolation, deadline_s, _record)


def _position(m, message):
    rk, headers, value, size = _library(), c.c_void_p(), c.c_void_p(), c.c_size_t()
    header = None
    if not rk.rd_kafka_message_headers(message, c.byref(headers)) and \
            not rk.rd_kafka_header_get_last(headers, b"millrace", c.byref(value), c.byref(size)):
        header = c.string_at(value.value, size.value)
    return m.partition, m.offset, header, not m.payload


def kafka_positions(brokers, topic, isolation="read_committed", deadline_s=60):
    """The same, cheaply, for topics with millions of records: (partition, offset, header "millrace" or None, whether the value
    is null)."""
    yield from _read(brokers, topic, isolation, deadline_s, _position)


class Tail:
    """What is committed to a topic from now on: a consumer at the end of every partition, for the time of its with block."""

    def __init__(self, brokers, topic):
        self.brokers, self.topic = brokers, topic

    def __enter__(self):
        self._client = _Client(self.brokers, _CONSUMER, isolation_level="read_committed", enable_auto_commit="false",
                               enable_auto_offset_store="false", group_id="millrace-test-tail", fetch_wait_max_ms=50,
                               enable_partition_eof="true")
        self._handle, waiting = self._client.__enter__(), topics(self.brokers)[self.topic]
        _assign(self._handle, self.topic, waiting, _END)
        while waiting:  # at its end for each: the place is known, and not only asked for
            waiting -= self._poll(30) == _PARTITION_EOF
        return self

    def __exit__(self, *_):
        _library().rd_kafka_consumer_close(self._handle)
        self._client.__exit__()

    def _poll(self, deadline_s, alive=None):
        """The error code of the next message, 0 for a record."""
        end = now() + deadline_s
        while now() < end:
            if pointer := _library().rd_kafka_consumer_poll(self._handle, 200):
                try:
                    return c.cast(pointer, c.POINTER(_Message)).contents.err
                finally:
                    _library().rd_kafka_message_destroy(c.c_void_p(pointer))
            if alive and not alive():
                raise RuntimeError(f"nothing came to {self.topic}, and its writer has ended")
        raise TimeoutError(f"nothing came to {self.topic} for {deadline_s} s")

    def next(self, deadline_s, alive=None):
        """Returns when a record has been committed."""
        while (error := self._poll(deadline_s, alive)) == _PARTITION_EOF:
            pass
        _check(error, f"reading {self.topic}")


def kafka_count(brokers, topic, deadline_s=120):
    """How many records a read_committed reader finds in a topic, without looking at them: for millions."""
    rk, size, found = _library(), 10000, 0
    with _Client(brokers, _CONSUMER, isolation_level="read_committed", enable_partition_eof="true", enable_auto_commit="false",
                 enable_auto_offset_store="false", group_id="millrace-test-count", fetch_wait_max_ms=50) as handle:
        waiting = topics(brokers)[topic]
        _assign(handle, topic, waiting, _BEGINNING)
        queue, batch = c.c_void_p(rk.rd_kafka_queue_get_consumer(handle)), (c.POINTER(_Message) * size)()
        end = now() + deadline_s
        while waiting:
            if now() > end:
                raise TimeoutError(f"counting {topic}: at {found} after {deadline_s} s")
            for message in batch[:rk.rd_kafka_consume_batch_queue(queue, 100, batch, c.c_size_t(size))]:
                error = message.contents.err
                rk.rd_kafka_message_destroy(message)
                if error == _PARTITION_EOF:
                    waiting -= 1
                else:
                    _check(error, f"counting {topic}")
                    found += 1
        rk.rd_kafka_queue_destroy(queue)
        rk.rd_kafka_consumer_close(handle)
    return found


def kafka_dump(brokers, topic, isolation="read_committed", deadline_s=60):
    """All of a topic as a list, ordered by partition and offset."""
    return sorted(kafka_read(brokers, topic, isolation, deadline_s), key=lambda r: (r.partition, r.offset))


def _admin(brokers, start, result, result_topics, tolerated, what):
    rk = _library()
    with _Client(brokers, _PRODUCER) as handle:
        queue = c.c_void_p(rk.rd_kafka_queue_new(handle))
        start(handle, queue)
        event = c.c_void_p(rk.rd_kafka_queue_poll(queue, 30000))
        try:
            if not event:
                raise TimeoutError(what)
            _check(rk.rd_kafka_event_error(event), what)
            count = c.c_size_t()
            found = c.cast(result_topics(c.c_void_p(result(event)), c.byref(count)), c.POINTER(c.c_void_p))
            for i in range(count.value):
                error = rk.rd_kafka_topic_result_error(c.c_void_p(found[i]))
                if error not in (_NO_ERROR, tolerated):
                    _check(error, f"{what} {rk.rd_kafka_topic_result_name(c.c_void_p(found[i])).decode()}")
        finally:
            if event:
                rk.rd_kafka_event_destroy(event)
            rk.rd_kafka_queue_destroy(queue)


def create_topic(brokers, name, partitions=1, replication=1, config=None):
    """Creates a topic; one that exists is an error."""
    rk = _library()

    def start(handle, queue):
        topic = c.c_void_p(rk.rd_kafka_NewTopic_new(name.encode(), partitions, replication, None, c.c_size_t(0)))
        for key, value in (config or {}).items():
            rk.rd_kafka_NewTopic_set_config(topic, key.encode(), str(value).encode())
        rk.rd_kafka_CreateTopics(handle, (c.c_void_p * 1)(topic), c.c_size_t(1), None, queue)
        rk.rd_kafka_NewTopic_destroy(topic)

    _admin(brokers, start, rk.rd_kafka_event_CreateTopics_result, rk.rd_kafka_CreateTopics_result_topics, _NO_ERROR,
           f"create topic {name}")
    wait_until(lambda: topics(brokers).get(name) == partitions, 10, f"the topic {name} is known", ignore=(RuntimeError,))


def delete_topics(brokers, names):
    """Deletes topics; those that do not exist are passed over."""
    rk, names = _library(), list(names)
    if not names:
        return

    def start(handle, queue):
        array = (c.c_void_p * len(names))(*[rk.rd_kafka_DeleteTopic_new(name.encode()) for name in names])
        rk.rd_kafka_DeleteTopics(handle, array, c.c_size_t(len(names)), None, queue)
        for entry in array:
            rk.rd_kafka_DeleteTopic_destroy(c.c_void_p(entry))

    _admin(brokers, start, rk.rd_kafka_event_DeleteTopics_result, rk.rd_kafka_DeleteTopics_result_topics, _UNKNOWN_TOPIC,
           "delete topics")


# ---- what a stranger, or an operator, does to topics ------------------------------------------------------------------------
class _Header(c.Structure):
    _fields_ = [("name", c.c_char_p), ("value", c.c_char_p), ("size", c.c_ssize_t)]


class _Memory(c.Structure):
    _fields_ = [("data", c.c_char_p), ("size", c.c_size_t)]


class _Any(c.Union):
    _fields_ = [("text", c.c_char_p), ("number", c.c_int32), ("memory", _Memory), ("header", _Header), ("pad", c.c_char * 64)]


class _Argument(c.Structure):
    """rd_kafka_vu_t"""
    _fields_ = [("kind", c.c_int), ("u", _Any)]


_TOPIC, _PARTITION, _VALUE, _KEY, _FLAGS, _HEADER = 1, 3, 4, 5, 7, 9
_COPY = 2


def _produce(handle, topic, partition, key, value, headers):
    rk = _library()
    rk.rd_kafka_produceva.restype = rk.rd_kafka_commit_transaction.restype = c.c_void_p
    rk.rd_kafka_init_transactions.restype = rk.rd_kafka_begin_transaction.restype = c.c_void_p
    arguments = [_Argument(_TOPIC, _Any(text=topic.encode())), _Argument(_PARTITION, _Any(number=partition)),
                 _Argument(_FLAGS, _Any(number=_COPY)),
                 _Argument(_VALUE, _Any(memory=_Memory(value, len(value or b"")))), _Argument(_KEY, _Any(memory=_Memory(key, len(key or b""))))]
    arguments += [_Argument(_HEADER, _Any(header=_Header(name.encode(), text, len(text)))) for name, text in (headers or {}).items()]
    error = rk.rd_kafka_produceva(handle, (_Argument * len(arguments))(*arguments), c.c_size_t(len(arguments)))
    assert not error, f"produce to {topic}"
    assert rk.rd_kafka_flush(handle, 20000) == 0, f"flush {topic}"


def produce(brokers, topic, partition, key, value, headers=None):
    """One record of these very bytes, outside of any transaction."""
    with _Client(brokers, _PRODUCER) as handle:
        _produce(handle, topic, partition, key, value, headers)


class OpenTransaction:
    """Somebody's transaction with one record in it that never ends, until close() aborts it or the brokers do."""

    def __init__(self, brokers, topic, partition, timeout_s=600):
        self.client = _Client(brokers, _PRODUCER, transactional_id=f"stranger-{topic}", transaction_timeout_ms=timeout_s * 1000)
        rk, handle = _library(), self.client.handle
        for call in (rk.rd_kafka_init_transactions, rk.rd_kafka_begin_transaction, rk.rd_kafka_abort_transaction):
            call.restype = c.c_void_p
        assert not rk.rd_kafka_init_transactions(handle, 30000), "init_transactions"
        assert not rk.rd_kafka_begin_transaction(handle), "begin_transaction"
        _produce(handle, topic, partition, b"stranger", b"stranger", None)

    def close(self):
        assert not _library().rd_kafka_abort_transaction(self.client.handle, 30000), "abort_transaction"
        self.client.__exit__()


def _ask(brokers, what, start):
    rk = _library()
    with _Client(brokers, _PRODUCER) as handle:
        queue = c.c_void_p(rk.rd_kafka_queue_new(handle))
        start(rk, handle, queue)
        event = c.c_void_p(rk.rd_kafka_queue_poll(queue, 30000))
        assert event, f"{what}: no answer"
        error = rk.rd_kafka_event_error(event)
        rk.rd_kafka_event_destroy(event)
        rk.rd_kafka_queue_destroy(queue)
        _check(error, what)


_barriers = itertools.count(1)
_ACL_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}
_ACL_TOPIC, _ACL_PREFIXED, _ACL_ALLOW = 2, 4, 3


def topic_rights(brokers, user, prefix, operations, allow=True):
    """Allows a user these operations on the topics whose names begin so, or takes the right away again."""
    def start(rk, handle, queue):
        make = rk.rd_kafka_AclBinding_new if allow else rk.rd_kafka_AclBindingFilter_new
        make.restype, why = c.c_void_p, c.create_string_buffer(256)
        bindings = [make(_ACL_TOPIC, prefix.encode(), _ACL_PREFIXED, f"User:{user}".encode(), b"*", _ACL_OPERATIONS[o], _ACL_ALLOW, why, c.c_size_t(256))
                    for o in operations]
        assert all(bindings), why.value.decode()
        array, count = (c.c_void_p * len(bindings))(*bindings), c.c_size_t(len(bindings))
        (rk.rd_kafka_CreateAcls if allow else rk.rd_kafka_DeleteAcls)(handle, array, count, None, queue)
        for binding in bindings:
            rk.rd_kafka_AclBinding_destroy(c.c_void_p(binding))
    _ask(brokers, f"rights of {user}", start)


def add_partitions(brokers, topic, total):
    def start(rk, handle, queue):
        rk.rd_kafka_NewPartitions_new.restype = c.c_void_p
        new = c.c_void_p(rk.rd_kafka_NewPartitions_new(topic.encode(), c.c_size_t(total), None, c.c_size_t(0)))
        rk.rd_kafka_CreatePartitions(handle, (c.c_void_p * 1)(new), c.c_size_t(1), None, queue)
        rk.rd_kafka_NewPartitions_destroy(new)
    _ask(brokers, f"add partitions to {topic}", start)
    wait_until(lambda: topics(brokers).get(topic) == total, 20, f"{topic} has {total} partitions", ignore=(RuntimeError,))


def alter_topic(brokers, topic, config):
    """These are all its own settings from now on; on return every broker of the list knows."""
    def start(rk, handle, queue):
        rk.rd_kafka_ConfigResource_new.restype = c.c_void_p
        resource = c.c_void_p(rk.rd_kafka_ConfigResource_new(2, topic.encode()))
        for key, value in config.items():
            rk.rd_kafka_ConfigResource_set_config(resource, key.encode(), str(value).encode())
        rk.rd_kafka_AlterConfigs(handle, (c.c_void_p * 1)(resource), c.c_size_t(1), None, queue)
        rk.rd_kafka_ConfigResource_destroy(resource)
    _ask(brokers, f"alter {topic}", start)
    _wait_every_broker_is_here(brokers)


def _wait_every_broker_is_here(brokers):
    """Brokers apply the controller's log in order, each in its own time (KIP-500): who knows of a topic made now knows all that was altered before."""
    name = f"barrier-{next(_barriers)}"
    create_topic(brokers, name)
    for broker in brokers.split(","):
        wait_until(lambda: name in topics(broker), 20, f"broker {broker} has caught up with the controller", ignore=(RuntimeError,))
    delete_topics(brokers, [name])


def delete_records(brokers, topic, before):
    """`before`: {partition: first offset that stays}; -1 = none stays."""
    def start(rk, handle, queue):
        rk.rd_kafka_DeleteRecords_new.restype = c.c_void_p
        wanted = c.c_void_p(rk.rd_kafka_topic_partition_list_new(len(before)))
        for partition, offset in before.items():
            c.cast(rk.rd_kafka_topic_partition_list_add(wanted, topic.encode(), partition) + 16, c.POINTER(c.c_int64))[0] = offset
        request = c.c_void_p(rk.rd_kafka_DeleteRecords_new(wanted))
        rk.rd_kafka_DeleteRecords(handle, (c.c_void_p * 1)(request), c.c_size_t(1), None, queue)
        rk.rd_kafka_DeleteRecords_destroy(request)
        rk.rd_kafka_topic_partition_list_destroy(wanted)
    _ask(brokers, f"delete records of {topic}", start)
