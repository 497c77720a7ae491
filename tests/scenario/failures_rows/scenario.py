"""What applications and migrations do to rows and tables, down to changes that the log does not tell."""
import signal

from harness.clock import wait_until
from harness.failure import failure
from harness.history import check_history
from harness.pipeline import capture_and_sink, pipeline, stops

RESNAPSHOT = "`millrace capture --config FILE --resnapshot` takes a new snapshot; the replica's rows become those of the source."


# ---- rows ----------------------------------------------------------------------------------------------------------------
@failure("F24", "An update leaves a large value alone",
         happens="PostgreSQL does not log an unchanged value that is stored out of line (TOAST), unless the table has REPLICA IDENTITY FULL.",
         does="Capture refuses such tables (`partial-rows`) until you choose. With `partial_rows: history` the value is *absent* in the change, never null, and a sink never writes an absent column, also when several changes of one row are merged.",
         todo="`ALTER TABLE ... REPLICA IDENTITY FULL`, or `partial_rows: history`, which keeps the whole history of such topics.", ends="equal partial-rows",
         by=["faults/rows_that_may_come_without_all_columns_need_a_decision", "contract/source/test_postgres_rows/an_unchanged_large_value_is_absent_or_filled_from_the_old_row"])
def test_absent_values_survive_the_merge_of_a_batch(world):
    m = pipeline(world, "create table t (id int primary key, big text, v int); alter table t alter big set storage external; insert into t select i, repeat('x', 9000), 0 from generate_series(1, 5) i",
                 source={"partial_rows": "history"})
    world.source.sql("""begin; insert into t values (10, repeat('n', 9000), 0); update t set v = 1 where id in (1, 10); update t set v = 2 where id in (1, 10);
                        update t set big = repeat('y', 9000) where id = 2; update t set v = 3 where id = 2; update t set big = null where id = 3; update t set v = 4 where id = 3;
                        update t set id = 40, v = 5 where id = 4; update t set v = 6 where id = 40; delete from t where id = 5; insert into t values (5, repeat('z', 9000), 7); update t set v = 8 where id = 5; commit""")
    world.wait_equal()
    assert world.replica.value("select sum(length(big)) from t") == 45000
    m.term()


@failure("F25", "A table without a key",
         happens="A published table has neither primary key nor replica identity: the source itself would refuse the application's updates and deletes of it. Or such a table is made later, where the publication has all tables.",
         does="Refuses to publish it, and names it, before anything is shipped. One that joins later by itself is warned of.",
         todo="Add a primary key, or `ALTER TABLE ... REPLICA IDENTITY FULL`, or exclude the table.", ends="equal table-without-key",
         by=["faults/a_table_without_key_is_named_before_anything_is_shipped"])
def test_a_table_without_key_joins_a_publication_of_all_tables(world):
    m = pipeline(world, f"create table t (id int primary key); create publication {world.publication} for all tables; insert into t values (1)")
    mark = m.log_size()
    world.source.sql("create table bare (v int); insert into bare values (1), (1)")
    m.wait_log("level=warn .*without a key.*table=bare", 20, since=mark)
    world.wait_equal()
    world.source.sql("alter table bare replica identity full; update bare set v = 2; delete from t; insert into t values (2)")
    world.wait_equal()
    m.term()


failure("F26", "The replica identity of a table changes", happens="ALTER TABLE ... REPLICA IDENTITY in the middle of the stream, or inside a transaction.",
        does="Takes the key anew at that place of the log; the replica gets a unique index over it if it needs one.", todo="Nothing.", ends="equal",
        by=["subscription_rows/the_identity_of_a_table_changes_in_the_stream", "subscription_rows/the_identity_index_changes_inside_a_transaction"])

failure("F27", "Dropped, generated and added columns under REPLICA IDENTITY FULL",
        happens="The old image of a row no longer fits the columns of today, or of the replica.",
        does="Finds rows by their key only; a row that must be there and is not is an error, not a success.", todo="Nothing.", ends="equal target-diverged",
        by=["subscription_rows/dropped_columns_and_full_identity", "subscription_rows/a_column_with_a_default_comes_to_rows_that_are_there"])

failure("F28", "Equal rows in a table without key", happens="Two rows are the same in every column, and one is deleted or updated.",
        does="Changes exactly one of them, in the order of the source: all changes of such a table travel in one partition.", todo="Nothing.", ends="equal",
        by=["pipeline/a_table_without_key_keeps_its_duplicates", "subscription_rows/every_kind_of_identity"])

failure("F29", "TRUNCATE, also with CASCADE and of several tables", happens="Tables are emptied, some of them published, some not.",
        does="Empties exactly the tables that the log names, at that place of the order. A table that is not captured keeps its rows in the replica.",
        todo="Nothing.", ends="equal", by=["subscription_replica/truncate", "pipeline/key_changes_swaps_and_truncates", "contract/source/test_stream/a_truncate_is_one_change_per_table"])

failure("F31", "Partitions: rows move, partitions come and go", happens="An update moves a row to another partition; partitions are attached, detached and truncated.",
        does="Follows what the log says, partition by partition, or as the root (`publish_via_root`).",
        todo="With `publish_via_root`, take a new snapshot after attaching or detaching a partition that holds rows: that is not in the log.", ends="equal",
        by=["subscription_tables/partitions_as_their_root", "contract/source/test_postgres_rows/partitions_travel_as_leaves_or_as_their_root"])


# ---- tables change -------------------------------------------------------------------------------------------------------
failure("F33", "A table is dropped and made anew while capture is down", happens="The backlog holds changes of the old table, and the catalog only knows the new one.",
        does="Reads old changes as they were; a new table of the same name empties its replica and begins.", todo="Nothing.", ends="equal",
        by=["subscription_transactions/a_table_dropped_and_made_anew_while_nobody_looked", "contract/source/test_postgres_history/tables_that_are_gone_are_read_as_they_were"])

failure("F34", "Columns come and go in the middle of a transaction", happens="ALTER TABLE between changes of one transaction, also rolled back to a savepoint.",
        does="Each change is read with the columns of its place in the log; a new schema travels in the same journal transaction.", todo="Nothing.", ends="equal",
        by=["pipeline/columns_come_and_go_in_the_middle_of_a_transaction", "subscription_transactions/large_transactions_with_changes_of_tables_inside_that_are_partly_undone",
            "contract/source/test_stream/a_schema_change_comes_at_its_exact_place"])


@failure("F35", "A column gets another type",
         happens="ALTER COLUMN TYPE to a type that does not hold the old values' form, or a column is dropped and added again with another type, even inside one transaction, so that changes of both types are to be applied.",
         does="Widens by itself (int to bigint, varchar to text). Otherwise the sink stops with the SQL; nothing of the transaction is applied. A `text` column in the replica holds the changes of both types.",
         todo="Run the SQL of the message on the replica. If it says that the values do not fit because changes of the old type are still to come, make the column `text` first; the final type after that. Then SIGHUP or restart.",
         ends="target-table", by=["subscription_transactions/a_column_is_dropped_and_comes_again_with_another_type"])
def test_types_that_have_nothing_in_common_pass_through_text(world):
    m = pipeline(world, """create table t (id int primary key, b boolean, d int, u int); alter table t replica identity full;
                           insert into t select i, i % 2 = 0, i, i from generate_series(1, 20) i; create table o (id int primary key)""")
    m.term()
    mark = m.log_size()
    world.source.sql("""begin; update t set b = not b where id < 5; update t set d = d + 1 where id < 5; insert into o values (1);
        alter table t alter b type text using case when b then 'yes' else 'no' end, alter d type date using '2024-01-01'::date + d, drop column u; alter table t add column u text default 'n';
        update t set b = b || '!', u = 'new' where id % 2 = 0; insert into t values (100, 'maybe', '2024-05-05', 'x'); update t set b = b, u = u || '.'; commit""")
    config = world.config(registry=False, source={"silent_changes": "warn"})
    m.write_config(config)
    m.start()
    m.wait_log(r"name=target-table .*public\.t.*text first", 30, since=mark)
    assert world.replica.value("select count(*) from o") == 0, "half of a transaction"
    world.replica.sql("alter table t alter b type text using b::text, alter d type text using d::text, alter u type text using u::text")
    m.hup()
    world.wait_equal()
    m.term()
    world.replica.sql("alter table t alter d type date using d::date")
    world.source.sql("update t set d = d + 1, b = 'end'")
    m.start()
    world.wait_equal(types=True)
    m.term()


def stays_stopped(world, m, words, tables=None, replica=None):
    """Exit code 4 now and at the next start; nothing after the place of the stop was shipped; a new snapshot mends it."""
    for _ in range(2):
        stops(m if m.alive() else m.start(), "needs-resnapshot", "without an event", words, "silent_changes", exit_code=4)
    rc, out, err = m.run_cli("status", "--json")
    assert rc == 4, out + err
    rc, out, err = m.run_cli("doctor", "--json")
    assert rc == 1 and "needs-resnapshot" in out, out + err
    if replica:
        world.replica.sql(replica)
    m.start("run", "--resnapshot")
    world.wait_equal(tables)


@failure("F36", "A command changes rows without any event in the log",
         happens="`ADD COLUMN` with a volatile default (`gen_random_uuid()`, `clock_timestamp()`, identity), `ALTER COLUMN TYPE ... USING`, or a type with fewer digits: PostgreSQL rewrites the rows and logs no change of them.",
         does="Compares the catalog with what it was when the table was last looked at, with the table's first change after the command: another file together with a column that was written again gives it away. Capture stops before that change, and stays stopped over restarts. "
              "A change of a column's type that keeps the values (int to bigint) is a warning. Not seen is a command that ran while capture was down.",
         todo=RESNAPSHOT + " If you know that the rows are the same in the replica, `silent_changes: warn` goes on without.", ends="needs-resnapshot")
def test_rows_that_were_rewritten_without_events(world):
    m = pipeline(world, """create table t (id int primary key, v int, n numeric(12,4)); alter table t replica identity full; insert into t select i, i, i / 7.0 from generate_series(1, 50) i;
                           create table o (id int primary key); create table e (id int primary key, v int)""")
    narrow = "alter table t alter n type numeric(12,2)"
    for n, (command, words, replica) in enumerate([
            ("alter table t add column at timestamptz default clock_timestamp()", "got values", None),
            ("alter table t alter v type int using v * 2", "USING", None),
            (narrow, "rounded", narrow)]):
        world.source.sql(f"insert into o values ({n}); {command}")
        world.wait_equal(["public.o"])
        world.source.sql(f"insert into o values ({100 + n}); update t set v = v + 1 where id = 1; insert into o values ({200 + n})")
        stays_stopped(world, m, words, replica=replica)
    world.source.sql("vacuum full t")
    world.source.sql("alter table t alter v set statistics 10; truncate e; alter table e add column d int default 5; alter table t add column z int default 7; update t set v = 0 where id = 2; insert into e values (1, 1, 1)")
    world.wait_equal()
    world.source.sql("alter table t alter v type bigint")
    mark = m.log_size()
    world.source.sql("update t set v = 9000000000 where id = 3")
    m.wait_log("level=warn .*rewritten without events", 20, since=mark)
    world.wait_equal()
    m.term()


@failure("F36b", "An unlogged table becomes a logged one",
         happens="`ALTER TABLE ... SET LOGGED` on a table with rows, in a publication of all tables: its changes are shipped from then on, its rows are not.",
         does="Knows from its start which tables were unlogged, and stops with the first change of one that is not any more.", todo=RESNAPSHOT, ends="needs-resnapshot")
@failure("F36c", "A label of an enum is renamed",
         happens="`ALTER TYPE ... RENAME VALUE`: every row with the label changes at once, without any event.",
         does="Stops when the new label first comes in a row, or with the next change of a table after the server described it again: labels are never dropped, so one that is gone was renamed.",
         todo=RESNAPSHOT, ends="needs-resnapshot")
def test_an_unlogged_table_and_a_renamed_label(world):
    m = pipeline(world, f"""create type mood as enum ('sad', 'ok'); create table t (id int primary key, m mood); alter table t replica identity full; insert into t values (1, 'sad'), (2, 'ok');
                            create unlogged table u (id int primary key); insert into u values (1), (2); create publication {world.publication} for all tables""", ["public.t"])
    world.source.sql("alter table u set logged; insert into u values (3)")
    stays_stopped(world, m, "unlogged")
    world.source.sql("alter type mood rename value 'sad' to 'blue'; insert into t values (3, 'ok')")
    world.source.sql("insert into t values (4, 'blue')")
    stays_stopped(world, m, "enum")
    m.term()


@failure("F37", "Labels are added to an enum",
         happens="`ALTER TYPE ... ADD VALUE`, before, between or after the others, in the middle of the stream; two enums of one name in two schemas.",
         does="Labels are text in the journal, known by their type. The replica's type gets the label at the same place, before the first row with it. "
              "Only where a new label first comes inside an array or a composite, the sink stops and names it.",
         todo="Nothing; in the latter case `ALTER TYPE ... ADD VALUE` on the replica, then SIGHUP or restart.", ends="equal target-value",
         by=["types/every_type_arrives_by_snapshot_and_by_stream"])
def test_labels_are_added_at_their_place(world):
    m = pipeline(world, """create type mood as enum ('c', 'e'); create schema two; create type two.mood as enum ('x', 'c');
                           create table t (id int primary key, m mood, n two.mood, ms mood[]); alter table t replica identity full; insert into t values (1, 'c', 'x', '{c}')""")
    world.source.sql("alter type mood add value 'a' before 'c'; alter type mood add value 'd' before 'e'; alter type mood add value 'f'; alter type two.mood add value 'w' before 'x'")
    world.source.sql("insert into t values (2, 'a', 'c', '{c}'), (3, 'f', 'w', '{e}')")
    world.wait_equal()
    world.source.sql("insert into t values (4, 'd', 'w', '{a,d,f}')")
    world.wait_equal()
    labels = "select string_agg(enumlabel, ',' order by enumsortorder) from pg_enum where enumtypid = %s::regtype"
    for name in ("mood", "two.mood"):
        assert world.replica.value(labels, (name,)) == world.source.value(labels, (name,))
    world.source.sql("alter type mood add value 'g'")
    mark = m.log_size()
    world.source.sql("insert into t values (5, null, null, '{g,c}')")
    m.wait_log("name=target-value .*public.t.*enum public.mood", 20, since=mark)
    world.replica.sql("alter type mood add value 'g' after 'f'")
    m.hup()
    world.wait_equal()
    m.term()


# ---- values --------------------------------------------------------------------------------------------------------------
failure("F39", "NaN, infinities and very large numbers", happens="`numeric` without a scale holds 131072 digits, NaN and infinities.",
        does="Carries them as text, exactly. NaN in a `numeric(p,s)`, which travels as a decimal, stops with table, key and column.", todo="`numeric: string` carries NaN in every numeric.",
        ends="equal value-not-carried", by=["types/every_type_arrives_by_snapshot_and_by_stream", "types/nan_in_a_decimal_stops_and_names_the_option", "contract/test_pg_types/every_type_comes_back_unchanged_or_stops_by_name"])
failure("F40", "Infinite, BC and far dates", happens="`infinity`, years before Christ, 294276 AD, 24:00:00, offsets of 15:59.",
        does="Carries them exactly; a timestamp beyond the wire's range stops with table, key and column.", todo="Change the value at the source, or leave the column out.",
        ends="equal value-not-carried", by=["types/every_type_arrives_by_snapshot_and_by_stream", "types/a_timestamp_beyond_the_wires_range_stops"])
failure("F41", "Domains, composites, arrays, ranges, xml, bits", happens="Types whose text has quotes, NULLs and nesting of its own.",
        does="Carries their exact text with the type's name, and makes the user's types in the replica.", todo="Nothing.", ends="equal",
        by=["types/every_type_arrives_by_snapshot_and_by_stream", "contract/test_pg_types/no_built_in_type_is_forgotten"])
failure("F42", "Odd names", happens="Quotes, dots, semicolons, blanks, names that differ only by case, names of 63 bytes.",
        does="Quotes every name for every peer; topics and schemas have reversible names that cannot collide.", todo="Nothing.", ends="equal",
        by=["types/hostile_identifiers_travel", "subscription_rows/names_of_63_bytes_and_odd_names"])
failure("F43", "Generated and identity columns", happens="Columns that the source computes, or that only accept values of their own.",
        does="Leaves generated columns to the replica, and writes identity columns as they are in the source.", todo="Nothing.", ends="equal",
        by=["subscription_rows/generated_and_identity_columns", "subscription_replica/identity_columns_of_a_replica_that_may_not_change"])
failure("F48", "Keys that are equal and spelled differently", happens="1.0 becomes 1.00, -0 becomes 0, 'a' becomes 'A' under a collation without case.",
        does="The replica ends with the spelling of the source; a row is never deleted by its own rewrite.", todo="Give the replica's column the same collation.", ends="equal",
        by=["subscription_rows/keys_that_are_equal_and_spelled_differently", "types/numerics_and_times_as_keys"])


# ---- transactions --------------------------------------------------------------------------------------------------------
@failure("F44", "A transaction larger than memory",
         happens="One transaction changes millions of rows, and capture is killed in the middle of it.",
         does="Ships it in several journal transactions in bounded memory, each with its place inside; after the kill it goes on from there. A `consistency: transaction` sink shows all of it or nothing.",
         todo="Nothing. Room for it is needed in the topics and, while it is applied, in the replica.", ends="equal", by=["pipeline/a_transaction_larger_than_the_batch_arrives_whole"])
def test_a_huge_transaction_and_a_kill_in_its_middle(world):
    rows = 100000
    capture, sink = capture_and_sink(world, "create table t (id int primary key, v int, s text); alter table t replica identity full; create table o (id int primary key)",
                                     log={"level": "info"}, capture={"batch_bytes": "1MB"}, sinks=[world.sink(lease="1s")])
    base = capture.rss_bytes()
    changes = lambda: capture.metric("millrace_capture_changes_total") or 0  # noqa: E731
    world.source.sql(f"insert into t select i, 0, repeat('s', 60) from generate_series(1, {rows}) i; insert into o values (1)")
    wait_until(lambda: changes() > rows / 2, 90, "half of it")
    seen = capture.rss_bytes()
    capture.kill9()
    capture.start()
    wait_until(lambda: changes() > rows / 4, 90, "more of it")
    seen = max(seen, capture.rss_bytes())
    assert world.replica.value("select count(*) from t") in (0, rows), "a part of a transaction is in the replica"
    world.wait_equal(deadline_s=90)
    # The sanitizers keep freed memory for a while (quarantine): 256 MB.
    assert seen - base < 350 << 20, f"capture grew from {base >> 20} to {seen >> 20} MB"
    assert check_history(world.kafka, world.prefix) == rows + 1 + 2 * 4  # the snapshot's truncates stand in each partition
    capture.term()
    sink.term()


test_a_huge_transaction_and_a_kill_in_its_middle.timeout_s = 300
test_rows_that_were_rewritten_without_events.timeout_s = 300
failure("F45", "Savepoints by the thousand", happens="Subtransactions, nested and half of them rolled back, as PL/pgSQL's exception blocks make them.",
        does="Ships what was committed, and nothing else.", todo="Nothing.", ends="equal",
        by=["subscription_transactions/savepoints_by_the_thousand", "pipeline/rolled_back_work_and_savepoints_leave_nothing"])


@failure("F46", "A transaction under way is aborted, or the source crashes",
         happens="A large transaction is written and then rolled back, or the server goes down in its middle.",
         does="Reads a transaction only after its commit: what did not commit is never shipped.", todo="Nothing.", ends="equal")
def test_a_source_that_crashes_in_the_middle_of_a_transaction(world):
    server = world.postgres("source", database="origin").server
    m = pipeline(world, "create table t (id int primary key, v text); alter table t replica identity full; insert into t values (1, 'one')")
    aborted, cut = world.source.connect(autocommit=False), world.source.connect(autocommit=False)
    for session, first in ((aborted, 1000), (cut, 100000)):
        with session.cursor() as cursor:
            cursor.execute("insert into t select i, repeat('never', 50) from generate_series(%s, %s) i", (first, first + 40000))
    world.source.sql("insert into t values (2, 'between')")
    aborted.rollback()
    aborted.close()
    world.wait_equal()
    server.process.signal(signal.SIGQUIT)
    server.process.wait(20, "the crash")
    cut.close()
    server.start()
    world.source.sql("insert into t values (3, 'after the crash')")
    world.wait_equal()
    assert world.replica.value("select count(*) from t") == 3
    assert check_history(world.kafka, world.prefix) == 3 + 4  # the snapshot's truncate stands in each partition
    m.term()


failure("F47", "Two-phase commit", happens="PREPARE TRANSACTION, crashes, then COMMIT PREPARED or ROLLBACK PREPARED; also prepared before the slot was made.",
        does="Ships such a transaction with its COMMIT PREPARED. A snapshot waits for those that are open.", todo="Nothing.", ends="equal",
        by=["subscription_transactions/two_phase_commit", "subscription_transactions/a_transaction_prepared_before_the_slot"])


@failure("F49", "Sequences after a failover to the replica",
         happens="Sequences are not in the log. A replica that becomes the primary would hand out numbers that are taken.",
         does="Nothing by itself.", todo="Before applications write there, run the statement of [Operating](operating.md#the-replica-takes-over): it sets every sequence behind its column.", ends="equal")
def test_sequences_of_a_replica_that_takes_over(world):
    tables = "create table a (id bigint generated by default as identity primary key, v int); create table b (id serial primary key); create schema \"S x\"; create table \"S x\".\"T y\" (\"I d\" serial primary key)"
    world.replica.sql(tables)
    m = pipeline(world, tables + "; insert into a (v) select 1 from generate_series(1, 100); insert into b select from generate_series(1, 30); insert into \"S x\".\"T y\" default values", source={"tables": ["*.*"]})
    m.term()
    text = (world.dir.parents[2] / "docs" / "operating.md").read_text()
    statement = text.split("## The replica takes over")[1].split("```sql")[1].split("```")[0]
    world.replica.sql(statement)
    assert world.replica.value("insert into a (v) values (1) returning id") == 101
    assert world.replica.value("insert into b default values returning id") == 31
    assert world.replica.value('insert into "S x"."T y" default values returning "I d"') == 2


failure("F50", "Column lists and row filters of the publication", happens="The publication leaves out columns, or rows by a condition; an update moves a row across the condition.",
        does="Keeps to what the server publishes: such an update is a delete or an insert in the replica, and a column that is not published never travels.",
        todo="Nothing. A list or a filter that is changed later needs a new snapshot.", ends="equal",
        by=["subscription_tables/a_publication_with_column_lists_and_row_filters_is_adopted", "subscription_tables/columns_that_are_left_out", "pipeline/patterns_renames_and_row_filters_shape_a_sink"])
