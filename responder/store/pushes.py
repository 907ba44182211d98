"""What a push makes of subscriptions and turns: whose answer has changed, and a delivery for each, by one statement.

Each function is a part of the caller's transaction. Times are seconds since 1970, UTC.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.core.broadcast import Priority
from responder.core.broadcast import State as Stage
from responder.core.told import merged
from responder.store.schedule import AHEAD
from responder.store.tables import UNTAKEN, many, utc_param


def answers_in_use(connection: Connection) -> list[tuple[str, str, str]]:
    """(place, service, told) of all active subscriptions, each once."""
    sql = "SELECT DISTINCT place, service, told FROM subscriptions WHERE state = 'active'"
    return [tuple(row) for row in connection.execute(text(sql))]


def said_lately(connection: Connection, since: float, subscribed_since: float) -> set[str]:
    """Every list of points that somebody was sent to: whoever asked after `since`, subscribers a longer time."""
    sql = (
        "SELECT DISTINCT said FROM turns WHERE said <> '' AND said_at > :since"
        " UNION SELECT DISTINCT said FROM subscriptions WHERE said <> '' AND said_at > :subscribed"
    )
    return set(connection.execute(text(sql), {"since": since, "subscribed": subscribed_since}).scalars())


def load_news(connection: Connection, rows: Sequence[Mapping[str, Any]], broken: Iterable[str]) -> None:
    """Put a push's findings where SQL can join them: rows of place, service, told, current, news, operator."""
    blob = "BLOB" if connection.dialect.name == "sqlite" else "BYTEA"
    for name, columns in {
        "push_news": "place TEXT, service TEXT, told TEXT, current TEXT, news TEXT, operator TEXT",
        "push_broken": "said TEXT",
        "push_asked": f"sender_hash {blob} PRIMARY KEY, said TEXT",
    }.items():
        connection.execute(text(f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({columns})"))
        connection.execute(text(f"DELETE FROM {name}"))
    connection.execute(text("CREATE INDEX IF NOT EXISTS push_news_answer ON push_news (place, service, told)"))
    by = "" if connection.dialect.name == "sqlite" else "USING hash"  # a tree of PostgreSQL's takes 2,700 bytes at most
    connection.execute(text(f"CREATE INDEX IF NOT EXISTS push_broken_said ON push_broken {by} (said)"))
    if rows:
        connection.execute(
            text("INSERT INTO push_news VALUES (:place, :service, :told, :current, :news, :operator)"), list(rows)
        )
    lists = [{"said": said} for said in broken]
    if lists:
        connection.execute(text("INSERT INTO push_broken VALUES (:said)"), lists)
    _plan_well(connection, "push_news", "push_broken")


def _plan_well(connection: Connection, *tables: str) -> None:
    """PostgreSQL knows nothing of tables that were filled just now, and takes `deliveries` for as empty as when it last
    looked: it would read all of it for each message that it adds to it. SQLite goes by the indexes anyway.
    """
    if connection.dialect.name == "postgresql":
        for table in tables:
            connection.execute(text(f"ANALYZE {table}"))
        for way in ("seqscan", "mergejoin"):
            connection.execute(text(f"SET LOCAL enable_{way} = off"))


def lapse(connection: Connection) -> int:
    """What closed as it was said to needs no message: those who knew are taken to know the present answer."""
    sql = (
        "UPDATE subscriptions SET told = (SELECT n.current FROM push_news n WHERE n.place = subscriptions.place"
        " AND n.service = subscriptions.service AND n.told = subscriptions.told AND n.news = 'lapsed')"
        " WHERE EXISTS (SELECT 1 FROM push_news n WHERE n.place = subscriptions.place"
        " AND n.service = subscriptions.service AND n.told = subscriptions.told AND n.news = 'lapsed')"
    )
    return connection.execute(text(sql)).rowcount


def supersede(connection: Connection, now: float) -> int:
    """Unsent status messages that a newer answer overtakes; how many."""
    sql = (
        "UPDATE deliveries SET state = 'superseded', settled_at = :now WHERE state = 'queued' AND kind = 'status'"
        " AND broadcast_id IN (SELECT id FROM broadcasts WHERE kind = 'status'"
        " AND state IN ('sending', 'paused', 'submitted', 'approved')) AND EXISTS (SELECT 1 FROM push_news n"
        " WHERE n.place = deliveries.place AND n.service = deliveries.service AND n.current <> deliveries.target)"
    )
    return connection.execute(text(sql), {"now": now}).rowcount


def add_push(connection: Connection, priority: Priority, stage: Stage, operator: str, run: float, now: float) -> int:
    """A broadcast that tells what changed; its id."""
    sql = text(
        "INSERT INTO broadcasts (kind, state, priority, operator, run, created_at, submitted_at) VALUES ('status',"
        " :state, :priority, :operator, :run, :now, :now) RETURNING id"
    )
    values = {"state": stage.value, "priority": int(priority), "operator": operator, "run": run, "now": now}
    return int(connection.execute(sql, values).scalar_one())


def queue_changed(connection: Connection, broadcast_id: int, operator: str, now: float) -> int:
    """A delivery for each subscription whose answer is another by `operator`'s doing; how many."""
    sql = (
        f"{_STATUS} n.current, s.told, s.said, :now FROM push_news n JOIN subscriptions s ON s.place = n.place"
        " AND s.service = n.service AND s.told = n.told WHERE n.news = 'changed' AND n.operator = :operator"
        f" AND {WANTS} AND NOT EXISTS ({_WAITING}) ON CONFLICT DO NOTHING"
    )
    values = {"broadcast": broadcast_id, "operator": operator, "now": now}
    return connection.execute(text(sql), values).rowcount


def queue_closed(connection: Connection, broadcast_id: int, since: float, subscribed_since: float, now: float) -> int:
    """A delivery for everybody who counts on a door that is not open: subscribers whose answer changed by it or who
    were sent to it since `subscribed_since`, and whoever asked since `since`, once a number. How many.

    What waits for a second person, or behind other news, is overtaken. The turns of who asked are cleared: their
    delivery remembers all the points that they were told.
    """
    values = {"broadcast": broadcast_id, "since": since, "subscribed": subscribed_since, "now": now}
    asked = (
        f"INSERT INTO push_asked SELECT t.sender_hash, {_joined(connection)}(t.said, '') FROM turns t"
        " JOIN push_broken b ON b.said = t.said WHERE t.said_at > :since GROUP BY t.sender_hash"
    )
    connection.execute(text(asked), values)
    _plan_well(connection, "push_asked")
    queueing = (
        f"{_STATUS} n.current, s.told, s.said, :now FROM push_news n JOIN subscriptions s ON s.place = n.place"
        " AND s.service = n.service AND s.told = n.told WHERE n.news = 'closed_door'"
        f" AND {WANTS} AND NOT EXISTS ({_GOING}) ON CONFLICT DO NOTHING",
        f"{_STATUS} '', s.told, s.said, :now FROM subscriptions s JOIN push_broken b ON b.said = s.said"
        f" WHERE EXISTS (SELECT 1 FROM push_broken) AND s.said_at > :subscribed AND {WANTS}"  # else all are read
        f" AND NOT EXISTS ({_GOING}) ON CONFLICT DO NOTHING",
        "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, place, service,"
        " turn_id, state, via, said_before, created_at) SELECT :broadcast, 'follow_up', sender_hash, sender_sealed,"
        " way, language, place, service, id, 'queued', gateway, all_said, :now FROM (SELECT t.*, a.said AS all_said,"
        " row_number() OVER (PARTITION BY t.sender_hash ORDER BY t.said_at DESC, t.id DESC) AS place_in_line FROM"
        " turns t JOIN push_broken b ON b.said = t.said JOIN push_asked a ON a.sender_hash = t.sender_hash"
        " WHERE t.said_at > :since AND t.way <> '') newest WHERE place_in_line = 1 AND length(sender_sealed) > 0"
        " AND NOT EXISTS (SELECT 1 FROM suppressions p WHERE p.number_hash = newest.sender_hash)"
        " AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.number_hash = newest.sender_hash"
        " AND d.broadcast_id = :broadcast) ON CONFLICT DO NOTHING",
    )
    made = sum(connection.execute(text(sql), values).rowcount for sql in queueing)
    for sql in (
        # a subscriber who also asked hears of all those doors in one message
        "UPDATE deliveries SET said_before = said_before || (SELECT a.said FROM push_asked a WHERE a.sender_hash ="
        " deliveries.number_hash) WHERE broadcast_id = :broadcast AND kind = 'status' AND id IN (SELECT min(d.id)"
        " FROM deliveries d JOIN push_asked a ON a.sender_hash = d.number_hash WHERE d.broadcast_id = :broadcast"
        " GROUP BY d.number_hash)",
        "UPDATE deliveries SET state = 'superseded', settled_at = :now WHERE state = 'queued' AND kind = 'status'"
        " AND broadcast_id <> :broadcast AND EXISTS (SELECT 1 FROM deliveries n WHERE n.broadcast_id = :broadcast"
        " AND n.number_hash = deliveries.number_hash AND n.place = deliveries.place"
        " AND n.service = deliveries.service)",
    ):
        connection.execute(text(sql), values)
    return made


def clear_asked(connection: Connection, since: float) -> None:
    """Who asked is being told: their delivery remembers all the points that they were sent to."""
    sql = "UPDATE turns SET said = '' WHERE said_at > :since AND said IN (SELECT said FROM push_broken)"
    connection.execute(text(sql), {"since": since})


def carry_over(connection: Connection, now: float) -> None:
    """What this push has superseded may have named doors that its subscriber only asked about: they stay to be told.

    Most name those that the subscriber is on record with anyway. Each is kept once, since this may go round many times
    before anything can be sent.
    """
    found_in = "instr" if connection.dialect.name == "sqlite" else "strpos"
    sql = (
        "SELECT s.id, s.said, d.said_before FROM deliveries d JOIN subscriptions s ON s.id = d.subscription_id"
        " WHERE d.kind = 'status' AND d.channel IN ('text', 'call') AND d.state = 'superseded' AND d.settled_at = :now"
        f" AND {found_in}(s.said || ';', d.said_before || ';') = 0 AND d.broadcast_id IN (SELECT id FROM broadcasts"
        " WHERE kind = 'status' AND state IN ('sending', 'paused', 'submitted', 'approved')) ORDER BY d.id"
    )
    said: dict[int, str] = {}
    for id, known, before in connection.execute(text(sql), {"now": now}):
        said[id] = merged(said.get(id, known), before)
    if said:
        rows = [{"id": id, "said": points} for id, points in sorted(said.items())]
        connection.execute(text("UPDATE subscriptions SET said = :said WHERE id = :id"), rows)


def _joined(connection: Connection) -> str:
    """The function that strings texts together."""
    return "group_concat" if connection.dialect.name == "sqlite" else "string_agg"


_STATUS = (
    "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, place, service,"
    " subscription_id, state, target, told_before, said_before, created_at)"
    " SELECT :broadcast, 'status', s.number_hash, s.number_sealed, s.channel, s.language, s.place, s.service, s.id,"
    " 'queued',"
)
WANTS = "s.state = 'active' AND NOT EXISTS (SELECT 1 FROM suppressions p WHERE p.number_hash = s.number_hash)"
# What waits to be sent to the same subscription, now or after somebody has approved or resumed it ...
_WAITING = (
    "SELECT 1 FROM deliveries d JOIN broadcasts b ON b.id = d.broadcast_id WHERE d.number_hash = s.number_hash"
    " AND d.place = s.place AND d.service = s.service AND d.kind = 'status' AND d.state = 'queued'"
    " AND b.state IN ('sending', 'paused', 'submitted', 'approved')"
)
# ... and what is as urgent as a closed door, and on its way.
_GOING = f"{_WAITING} AND b.state = 'sending' AND b.priority <= {int(Priority.CLOSED_DOOR)}"


def take_as_told(connection: Connection, broadcast_id: int) -> None:
    """Operators decided that nobody hears of these openings: the next push does not bring them again."""
    waiting = (
        "FROM deliveries d JOIN broadcasts b ON b.id = d.broadcast_id WHERE d.broadcast_id = :id"
        f" AND b.priority = {int(Priority.STATUS)} AND d.state = 'queued' AND d.target <> ''"
    )
    sql = (
        f"UPDATE subscriptions SET told = (SELECT d.target {waiting} AND d.subscription_id = subscriptions.id)"
        f" WHERE id IN (SELECT d.subscription_id {waiting})"
    )
    connection.execute(text(sql), {"id": broadcast_id})


def set_recipients(connection: Connection, id: int, recipients: int, stage: Stage) -> None:
    """How many a push reaches, and whether it goes out or waits; one for nobody is not kept."""
    values = {"id": id, "recipients": recipients, "state": stage.value}
    if not recipients:
        connection.execute(text("DELETE FROM broadcasts WHERE id = :id"), values)
        return
    sql = text("UPDATE broadcasts SET recipients = :recipients, state = :state WHERE id = :id")
    connection.execute(sql, values)


def changes_since(connection: Connection, since: float, now: float) -> dict[str, str]:
    """Point id to what it was (JSON, "" if it is new) before the first change after `since`. What is dated after `now`
    is of a clock that was ahead, and not new.
    """
    sql = text(
        "SELECT subject, before FROM audit WHERE at > :at AND at <= :now AND subject NOT LIKE '%:%' ORDER BY id"
    ).bindparams(utc_param(since), utc_param(now + AHEAD, "now"))
    found: dict[str, str] = {}
    for row in connection.execute(sql):
        found.setdefault(row.subject, row.before)
    return found


def last_changed_by(connection: Connection, subjects: Iterable[str]) -> dict[str, str]:
    """Point id to who changed it last."""
    sql = text(
        "SELECT a.subject, a.who FROM audit a JOIN (SELECT subject, max(id) AS id FROM audit WHERE subject IN :subjects"
        " GROUP BY subject) newest ON newest.id = a.id"
    ).bindparams(many("subjects", str))
    return {row.subject: row.who for row in connection.execute(sql, {"subjects": list(subjects)})}


def taken_in(connection: Connection, run: float, until: float) -> None:
    """The changes of points up to `until`, or of a clock that was ahead, are dealt with by the push `run`."""
    sql = text(f"UPDATE audit SET run = :run WHERE {UNTAKEN} AND (at <= :at OR at > :now)").bindparams(
        utc_param(until), utc_param(run + AHEAD, "now")
    )
    connection.execute(sql, {"run": run})


def is_untold(connection: Connection, now: float) -> bool:
    """Whether somebody has changed a point and no push has taken it in yet."""
    due = text("SELECT 1 FROM due WHERE job = 'push' AND done_at IS NULL AND at <= :now LIMIT 1")
    untaken = text(f"SELECT 1 FROM audit WHERE {UNTAKEN} LIMIT 1")
    return bool(connection.execute(due, {"now": now}).first() and connection.execute(untaken).first())
