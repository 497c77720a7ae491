"""The grants of the operating manual are enough, and each that is missing gives one clear error."""
from harness.pipeline import stops


def settle(world, tables=None, **options):
    world.wait_equal(tables, deadline_s=20, **options)


TABLES = """create table t (id int primary key, v text); alter table t replica identity full; insert into t select i, 'v' || i from generate_series(1, 50) i;
            create table u (id int primary key); insert into u values (1)"""


class Roles:
    """Roles of this test on both servers, and a config that uses them."""

    def __init__(self, world):
        self.world, self.source, self.replica = world, f"{world.prefix}_agent", f"{world.prefix}_applier"
        world.source.sql(f'{TABLES}; create role "{self.source}" login')
        world.replica.sql(f'create role "{self.replica}" login')
        self.database = world.replica.name
        sink = world.sink(to=world.replica.url(user=self.replica))
        self.config = world.config(registry=False, sinks=[sink])
        self.config["source"]["postgres"]["url"] = world.source.url(user=self.source)

    def grant_source(self):
        self.world.source.sql(f"""alter role "{self.source}" replication; grant usage on schema public to "{self.source}"; grant select on all tables in schema public to "{self.source}";
                                  create publication {self.world.publication} for table t, u""")

    def grant_replica(self):
        self.world.replica.sql(f'grant create on database "{self.database}" to "{self.replica}"; grant usage, create on schema public to "{self.replica}"; '
                               f'grant set on parameter session_replication_role to "{self.replica}"')

    def drop(self):
        for database, role in ((self.world.source, self.source), (self.world.replica, self.replica)):
            database.sql(f'reassign owned by "{role}" to postgres; drop owned by "{role}"; drop role "{role}"')


def ends(m, name, *words):
    assert len(stops(m.start(), name, *words)) == 1, m.tail()


def sink_stops(m, mark, *words):
    line = m.wait_log(r"level=error.*$", 20, since=mark)[0]
    for word in words:
        assert word in line, f"{word!r} is not in: {line}"
    return m.log_size()


def test_the_grants_of_the_manual_are_enough(world):
    roles = Roles(world)
    roles.grant_source()
    roles.grant_replica()
    m = world.millrace(roles.config)
    settle(world, types=True)
    world.source.sql("update t set v = 'w' where id < 10; delete from t where id > 40; truncate u; alter table t add column n int; insert into t values (100, 'x', 1)")
    settle(world)
    rc, out, err = m.run_cli("doctor")
    assert rc == 0, out + err
    m.term()
    roles.drop()


def test_each_missing_grant_of_the_source(world):
    roles = Roles(world)
    roles.grant_replica()
    world.source.sql("revoke all on schema public from public")
    m = world.millrace(roles.config, start=False)
    role = f'"{roles.source}"'
    ends(m, "source-refused", "ALTER ROLE", "REPLICATION")
    world.source.sql(f"alter role {role} replication")
    ends(m, "source-refused", "public.t", "GRANT SELECT ON")
    world.source.sql(f"grant select on all tables in schema public to {role}")
    ends(m, "source-refused", "schema public", "GRANT USAGE ON SCHEMA", roles.source)
    world.source.sql(f"grant usage on schema public to {role}")
    ends(m, "source-refused", "CREATE PUBLICATION")
    world.source.sql(f"create publication {world.publication} for table t")
    ends(m, "source-table", "ALTER PUBLICATION", "public.u")
    world.source.sql(f"alter publication {world.publication} add table u")
    world.source.sql(f"alter table t enable row level security; create policy few on t using (id < 10)")
    ends(m, "source-refused", "row-level security", "public.t", "BYPASSRLS")
    world.source.sql(f"alter role {role} bypassrls")
    m.start()
    settle(world)
    m.term()
    roles.drop()


def test_each_missing_grant_of_the_replica(world):
    roles = Roles(world)
    roles.grant_source()
    role, replica = f'"{roles.replica}"', world.replica
    m = world.millrace(roles.config)
    mark = sink_stops(m, 0, "name=target-refused", "GRANT CREATE ON DATABASE")
    replica.sql(f'grant create on database "{roles.database}" to {role}; revoke create on schema public from public')
    m.hup()
    mark = sink_stops(m, mark, "name=target-refused", "schema public")
    replica.sql(f"grant usage on schema public to {role}")
    replica.sql("create table t (id int primary key, v text); create table u (id int primary key); create table other (id int references t)")
    m.hup()
    mark = sink_stops(m, mark, "name=target-refused", "table t")
    replica.sql(f"grant select, insert, update, delete, truncate on t, u to {role}")
    m.hup()
    mark = sink_stops(m, mark, "name=target-refused", "GRANT SET ON PARAMETER session_replication_role")
    replica.sql(f"grant set on parameter session_replication_role to {role}; alter table t enable row level security")
    m.hup()
    mark = sink_stops(m, mark, "name=target-refused", "row-level security")
    replica.sql("alter table t disable row level security")
    m.hup()
    settle(world)
    world.source.sql("update t set v = 'w' where id < 10; delete from t where id > 40; truncate u; insert into t values (100, 'x')")
    settle(world)
    m.term()
    roles.drop()
