"""The tables of the storm, their audit, and what readers of a replica must never see.

Audited tables have `uid`, which names a row for ever, and `version`, which a trigger at the source raises with every change of the
row. Schema audit is not published: each database writes its own."""

WRITERS = 4
BIG_WRITER = 9  # the session of the large transactions
ACCOUNTS, BALANCE, MOVING, PARENTS, MANY = 200, 1000, 200, 100, 2000

TABLES = f"""
create type mood as enum ('calm', 'windy', 'stormy', 'it''s "over"');
create table account (id int primary key, uid int not null, balance bigint not null, version int not null default 0);
create table writer (id int primary key, seq int not null);
create table ledger (writer int, seq int, saw int[] not null, note text, primary key (writer, seq));
create table parent (id int primary key, children int not null default 0, note text);
create table child (id int primary key, uid int not null, parent int not null references parent on update cascade on delete cascade,
    code text unique, big text, version int not null default 0);
create table grandchild (id bigint primary key, child int not null references child on delete cascade, v numeric(12, 3));
create table moving (id int primary key, uid int not null, version int not null default 0);
create table toasted (id int primary key, uid int not null, big text, other text, v int not null default 0, version int not null default 0);
create table plain (v text, n int);
create table wiped (id int primary key, v text);
create table wiped_child (id int primary key, wiped int references wiped, v text);
create table typed (id int primary key, mood mood, moods mood[], tags text[], doc jsonb, raw json, amount numeric, price numeric(12, 4),
    at timestamptz, day date, span interval, bytes bytea, code uuid, host inet, during int4range, r real, d double precision, ok bool);
create table many (id int primary key, v int not null, pad text not null);
create table bulk (id int primary key, batch int not null, v int not null);
alter table toasted alter big set storage external, alter other set storage external;
alter table child replica identity full; alter table plain replica identity full; alter table typed replica identity full;
"""
NAMES = ["account", "writer", "ledger", "parent", "child", "grandchild", "moving", "toasted", "plain", "wiped", "wiped_child",
         "typed", "many", "bulk"]
AUDITED = ["account", "child", "moving", "toasted"]

_AUDIT = """
create schema audit;
create table audit.seen (n bigint generated always as identity, tab text not null, uid int not null, version int not null, hash bigint not null);
create function audit.see() returns trigger language plpgsql as $$ begin
    insert into audit.seen (tab, uid, version, hash) values (tg_table_name, new.uid, new.version, hashtextextended(new::text, 0));
    return null;
end $$;
"""
_RAISE = """
create function audit.raise_version() returns trigger language plpgsql as $$ begin
    new.version := old.version + 1;
    return new;
end $$;
"""

ROWS = f"""
insert into writer select i, 0 from generate_series(1, {WRITERS}) i;
insert into writer values ({BIG_WRITER}, 0);
insert into ledger select id, 0, '{{}}', 'first' from writer;
insert into account select i, i, {BALANCE} from generate_series(1, {ACCOUNTS}) i;
insert into parent select i, 2, 'p' || i from generate_series(1, {PARENTS}) i;
insert into child select i, i, 1 + i % {PARENTS}, 'c' || i, repeat('x', (i * 37) % 5000) from generate_series(1, {PARENTS} * 2) i;
insert into grandchild select i, i, i / 7.0 from generate_series(1, {PARENTS}) i;
insert into moving select i * 10, i from generate_series(1, {MOVING}) i;
insert into toasted select i, i, repeat('b', 3000 + i), repeat('o', 4000 + i) from generate_series(1, 50) i;
insert into plain select 'same', i % 3 from generate_series(1, 30) i;
insert into wiped values (1, 'w'); insert into wiped_child values (1, 1, 'w');
insert into typed (id) select i from generate_series(1, 50) i;
insert into many select i, 0, repeat(md5(i::text), 6) from generate_series(1, {MANY}) i;
insert into bulk values (0, 0, 0);
"""


def audit(source=False):
    """Everything that writes the applied sequence; at the source also what raises versions."""
    sql = _AUDIT + (_RAISE if source else "")
    for table in AUDITED:
        if source:
            sql += f"create trigger raise before update on {table} for each row execute function audit.raise_version();\n"
        sql += f"create trigger see after insert or update on {table} for each row execute function audit.see();\n"
        sql += f"alter table {table} enable always trigger see;\n" if not source else ""
    return sql


# Each finds rows only where a reader of a transaction-consistent replica sees a state that the source never had.
INVARIANTS = {
    "the sum over accounts is constant": f"select sum(balance) from account having sum(balance) <> {ACCOUNTS * BALANCE} or count(*) <> {ACCOUNTS}",
    "a parent counts its children": "select p.id, p.children, count(c.id) from parent p left join child c on c.parent = p.id"
                                    " group by p.id having p.children <> count(c.id)",
    "nobody is without parent": "select id from child where not exists (select from parent p where p.id = parent)"
                                " union all select id from grandchild where not exists (select from child c where c.id = child)",
    "a writer's transactions are there without hole": "select w.id, w.seq, max(l.seq), count(*) from writer w join ledger l on l.writer = w.id and l.seq > w.seq - 1000"
                                                      " group by w.id, w.seq having max(l.seq) <> w.seq or count(*) <> least(w.seq + 1, 1000)",
    "who saw a transaction comes after it": "select o.id, l.seq, l.saw from writer o, lateral (select * from ledger where writer = o.id order by seq desc limit 1) l"
                                            " where exists (select from unnest(l.saw) with ordinality s(seq, place), (select seq, row_number() over (order by id) as place from writer) w"
                                            " where w.place = s.place and w.seq < s.seq)",
    "a large transaction is there as a whole": "select * from (select (select batch from bulk order by id limit 1) as low, (select batch from bulk order by id desc limit 1) as high,"
                                               f" (select seq from writer where id = {BIG_WRITER}) as seq) x where low <> seq or high <> seq",
    "each moving row is there once": f"select count(*), count(distinct uid) from moving having count(*) <> {MOVING} or count(distinct uid) <> {MOVING}",
}
# What must break them, one change each: the checks have teeth.
BREAKERS = {
    "the sum over accounts is constant": "update account set balance = balance + 1 where id = 1",
    "a parent counts its children": "delete from child where id = (select min(id) from child)",
    "nobody is without parent": "update child set parent = -1 where id = (select min(id) from child)",
    "a writer's transactions are there without hole": "delete from ledger where writer = 1 and seq = (select seq - 1 from writer where id = 1)",
    "who saw a transaction comes after it": "update writer set seq = seq - 1000000 where id = 1",
    "a large transaction is there as a whole": "update bulk set batch = -1 where id = (select max(id) from bulk)",
    "each moving row is there once": "delete from moving where id = (select min(id) from moving)",
}
