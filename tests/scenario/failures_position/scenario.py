"""What can happen to the place at which capture stands in the source's log."""
from harness.failure import failure

RESNAPSHOT = "`millrace capture --config FILE --resnapshot` (or `run`): takes a new snapshot; rows that the source no longer has leave the replica."

failure("F06", "The replication slot is dropped, dropped and made anew, or moved ahead",
        happens="Somebody, or a tool, drops or advances the slot while capture is down. What was written meanwhile is no longer in reach.",
        does="Compares the stored position with the slot at every start: a slot that is gone, or stands after the position, is a gap, and nothing is shipped over it.",
        todo=RESNAPSHOT, ends="needs-resnapshot",
        by=["faults/a_dropped_slot", "faults/a_slot_dropped_and_recreated", "faults/a_slot_moved_ahead"])

failure("F09", "The server has thrown away log that capture still needs",
        happens="Capture was down, or too slow, for longer than `max_slot_wal_keep_size` allows, and the server invalidated the slot.",
        does="Stops for good instead of trying again; with `--resnapshot` it drops the lost slot and makes a new one.",
        todo=RESNAPSHOT + " Give the slot more room (`max_slot_wal_keep_size`), and watch `millrace_capture_slot_bytes`.", ends="needs-resnapshot",
        by=["faults/an_invalidated_slot"])
