"""The statements of a comparison: a quick one that sums row hashes, and a close one that names what differs.

Each is one statement, so one snapshot: a writer's row and what the sync made of it are committed together, so what
is seen to differ does differ. The quick one reads each table once; the close one runs only where it disagrees.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg import sql

from console.engine import derive, fit, ranges
from console.engine.derive import Composed, ands, column, commas, raw, table
from console.engine.facts import MappingFacts
from console.engine.row_values import Typed, old_server, row_hash, typed
from console.journal import schema
from console.journal.chunks import Key
from console.journal.connect import Conn
from console.plan.model import Direction, Mapping, TableName


@dataclass(frozen=True, slots=True)
class Question:
    """What is compared with what. ``lead``: the (old, new) columns that begin both keys and sort alike.

    Without ``old_types`` and ``new_types`` (a preview without a database) no value is cast. ``journal``: there are
    rejects to look in.
    """

    mapping: Mapping
    facts: MappingFacts | None = None
    old_types: dict[str, Typed] = field(default_factory=dict)
    new_types: dict[str, Typed] = field(default_factory=dict)
    lead: tuple[tuple[str, str], ...] = ()
    journal: bool = True
    by_text: bool = False

    @property
    def old(self) -> TableName:
        """Where the old table stands."""
        return self.facts.old.name if self.facts else self.mapping.old

    @property
    def names(self) -> list[str]:
        """The new columns that are compared."""
        return [name for name, _ in self.mapping.columns]

    def new_type(self, name: str) -> Typed:
        """How a new column is compared."""
        return self.new_types.get(name, Typed(name))

    def old_type(self, name: str) -> Typed:
        """How an old column is compared."""
        return self.old_types.get(name, Typed(name))


@dataclass(frozen=True, slots=True)
class Part:
    """Rows with ``low`` < leading key columns <= ``high`` (old names); None: from the beginning, to the end."""

    low: Key | None = None
    high: Key | None = None


def question(conn: Conn, mapping: Mapping, facts: MappingFacts) -> Question:
    """Ask the catalogue what must be known of both tables."""
    old_types, new_types = typed(conn, facts.old.name), typed(conn, facts.new.name)
    carried = {part.old: part.new for part in derive.key_parts(mapping) if part.old}
    lead: list[tuple[str, str]] = []
    for old, new in zip(
        ranges.index_order(facts.old, mapping.old_key), ranges.index_order(facts.new, mapping.new_key), strict=False
    ):
        if carried.get(old) != new or not old_types[old].sorts_like(new_types[new]):
            break
        lead.append((old, new))
    return Question(
        mapping, facts, old_types, new_types, tuple(lead),
        journal=schema.installed(conn), by_text=old_server(conn),
    )  # fmt: skip


def in_part(q: Question, part: Part) -> tuple[Composed, Composed]:
    """FROM items: the part's old rows and its new rows."""
    olds, news = tuple(old for old, _ in q.lead), tuple(new for _, new in q.lead)

    def as_new(key: Key | None) -> Key | None:
        return None if key is None else {new: key[old] for old, new in q.lead}

    return (
        sql.SQL("(SELECT s.* FROM {} s WHERE {})").format(
            table(q.old), ranges.between("s", olds, part.low, part.high)
        ),
        sql.SQL("(SELECT m.* FROM {} m WHERE {})").format(
            table(q.mapping.new), ranges.between("m", news, as_new(part.low), as_new(part.high))
        ),
    )  # fmt: skip


def listed(q: Question, direction: Direction, key: Composed) -> Composed:
    """Whether a key is among the rejects: one probe of the primary key, never a join with all of them."""
    if not q.journal:
        return raw("false")
    return sql.SQL(
        "coalesce((SELECT true FROM pgferry.reject r WHERE r.mapping = {} AND r.direction = {} AND r.key = {}), false)"
    ).format(sql.Literal(q.mapping.id), sql.Literal(direction.value), key)


def new_values(q: Question, alias: str, names: list[str] | tuple[str, ...]) -> list[Composed]:
    return [q.new_type(name).value(column(alias, name)) for name in names]


def claims(q: Question) -> list[tuple[str, str]]:
    """(old column, expression over ``n``) of the way back that equality forward does not imply already.

    A spelling is implied: both sides resolve to the same. So is a column that is carried as it is, in both directions
    and in one type.
    """
    there = dict(q.mapping.columns)
    spelled = derive.spellings(q.mapping)
    found = []
    for old, expression in q.mapping.back:
        alias, name = derive.plain(expression)
        as_it_is = alias == "n" and derive.plain(there.get(name, "")) == ("o", old)
        if old not in spelled and not (as_it_is and q.old_type(old).type == q.new_type(name).type):
            found.append((old, expression))
    return found


def back_source(q: Question, new: Composed) -> Composed:
    """FROM item: new rows ``n``, with the lookups of the way back where a claim needs them."""
    claimed = " ".join(expression for _, expression in claims(q))
    joins = [back_join(q, lookup.name) for lookup in q.mapping.lookups if f"{lookup.name}." in claimed]
    return sql.SQL("{} n {}").format(new, sql.SQL(" ").join(joins))


def back_join(q: Question, name: str) -> Composed:
    lookup = next(lookup for lookup in q.mapping.lookups if lookup.name == name)
    resolved = next((new for new, expr in q.mapping.columns if derive.plain(expr) == (name, lookup.gives)), None)
    gives = sql.Identifier(lookup.gives)
    return sql.SQL(
        "LEFT JOIN (SELECT DISTINCT ON (r.{gives}) r.* FROM {rel} r WHERE r.{canonical}) {name} ON {on}"
    ).format(
        gives=gives,
        rel=table(lookup.relation),
        canonical=sql.Identifier(lookup.canonical),
        name=raw(name),
        on=sql.SQL("false") if resolved is None else sql.SQL("{}.{} = {}").format(raw(name), gives, column("n", resolved)),
    )  # fmt: skip


def claimed_old(q: Question, alias: str) -> list[Composed]:
    return [
        q.old_type(old).value(sql.SQL("({}.pgferry_source).{}").format(raw(alias), sql.Identifier(old)))
        for old, _ in claims(q)
    ]


def claimed_new(q: Question) -> list[Composed]:
    return [q.old_type(old).value(raw(expression)) for old, expression in claims(q)]


def can_trust(q: Question) -> bool:
    """Whether ``quick`` may leave it to the new table what its constraints refuse: nothing is cast on the way."""
    facts = q.facts
    if facts is None or not facts.columns or claims(q) or facts.old.column("o") is not None:
        return False
    return not any(
        found is not None and fit.needs_cast(found, came)
        for found, came in ((facts.new.column(name), came) for name, came in facts.columns)
    )


def quick(q: Question, part: Part, *, trusting: bool = False) -> sql.Composed:
    """One row: old rows, those the new table should hold, refused ones not among the rejects, new rows, equal sums.

    ``trusting``: old rows are not tried against the new table's constraints, which is a fifth of the work. Where the
    sums are equal the new table holds these very rows; where they are not, nothing is known yet.

    A row of another spelling that is among the rejects is taken for one that lost its key; whether rightly, the
    look at all rejects says (``stale``). If rows lost that are not listed, the sums differ.
    """
    old, new = in_part(q, part)
    hashed = row_hash(new_values(q, "p", q.names), new_values(q, "p", q.mapping.new_key), by_text=q.by_text)
    new_hash = row_hash(new_values(q, "n", q.names), new_values(q, "n", q.mapping.new_key), by_text=q.by_text)
    old_back: Composed = raw("0")
    new_back: Composed = raw("0")
    if claims(q):
        old_back = row_hash(claimed_old(q, "p"), new_values(q, "p", q.mapping.new_key), by_text=q.by_text)
        new_back = row_hash(claimed_new(q), new_values(q, "n", q.mapping.new_key), by_text=q.by_text)
    return sql.SQL(
        """SELECT o.rows, o.good, o.unlisted, n.rows, (o.good, o.sum, o.back) IS NOT DISTINCT FROM (n.rows, n.sum, n.back)
FROM (
  SELECT count(*) AS rows, count(*) FILTER (WHERE q.fits AND NOT q.listed) AS good,
    count(*) FILTER (WHERE NOT q.fits AND NOT q.listed) AS unlisted,
    sum(q.hash) FILTER (WHERE q.fits AND NOT q.listed) AS sum, sum(q.back) FILTER (WHERE q.fits AND NOT q.listed) AS back
  FROM (
    SELECT p.pgferry_fits AS fits, {hash} AS hash, {old_back} AS back,
      CASE WHEN p.pgferry_fits AND p.pgferry_canonical THEN false ELSE {listed} END AS listed
    FROM (SELECT x.*, x.pgferry_reason IS NULL AS pgferry_fits FROM ({projection}) x OFFSET 0) p OFFSET 0
  ) q
) o, (SELECT count(*) AS rows, sum({new_hash}) AS sum, sum({new_back}) AS back FROM {new}) n"""
    ).format(
        hash=hashed,
        old_back=old_back,
        listed=listed(q, Direction.FORWARD, derive.projected_key(q.mapping, "p")),
        projection=derive.forward(q.mapping, None if trusting else q.facts, old, bulk=True),
        new_hash=new_hash,
        new_back=new_back,
        new=back_source(q, new),
    )


def texts(alias: str, names: list[str] | tuple[str, ...]) -> Composed:
    pairs = (sql.SQL("{}, {}::text").format(sql.Literal(name), column(alias, name)) for name in names)
    return sql.SQL("jsonb_build_object({})").format(commas(pairs))


def stale(q: Question, *, limit: int) -> sql.Composed:
    """One row: rejects without reason, and up to ``limit`` of their keys as JSON.

    Such a reject names a row that is gone, or the row that stands for its new key while the new table holds that key
    (or could, where no second constraint may have refused it).
    """
    m = q.mapping
    matches = ands(
        sql.SQL("o.{} = {}").format(sql.Identifier(name), from_json(q.old_type(name), "r.key", name))
        for name in m.old_key
    )
    key: dict[str, Composed] = {name: column("t", name) for name in m.new_key}
    winners = derive.forward(m, q.facts, derive.preimage(m, q.old, key), bulk=False)
    olds = commas(column("t", f"pgferry_old_{i}") for i in range(len(m.old_key)))
    first = commas(column("w", f"pgferry_old_{i}") for i in range(len(m.old_key)))
    there: Composed = raw("true")
    if q.facts is not None and q.facts.new.more_unique:
        there = sql.SQL("EXISTS (SELECT 1 FROM {} n WHERE {})").format(
            table(m.new), ands(sql.SQL("{} = {}").format(column("n", k), column("t", k)) for k in m.new_key)
        )
    return sql.SQL(
        """WITH r AS MATERIALIZED (
  SELECT r.key FROM pgferry.reject r WHERE r.mapping = {id} AND r.direction = 'forward'
), t AS MATERIALIZED (
  {projection}
), bad AS (
  SELECT r.key FROM r WHERE NOT EXISTS (SELECT 1 FROM {old} o WHERE {matches})
  UNION ALL
  SELECT {t_key} FROM t WHERE t.pgferry_reason IS NULL AND {there} AND EXISTS (
    SELECT 1 FROM (SELECT w.* FROM ({winners}) w WHERE w.pgferry_reason IS NULL
      ORDER BY w.pgferry_canonical DESC, {first} LIMIT 1) w WHERE ROW({first}) = ROW({olds}))
)
SELECT (SELECT count(*) FROM bad), (SELECT jsonb_agg(b.key) FROM (SELECT key FROM bad ORDER BY key LIMIT {limit}) b)"""
    ).format(
        id=sql.Literal(m.id),
        projection=derive.forward(
            m, q.facts, sql.SQL("(SELECT o.* FROM r JOIN {} o ON {})").format(table(q.old), matches), bulk=False
        ),
        old=table(q.old),
        matches=matches,
        t_key=derive.projected_key(m, "t"),
        there=there,
        winners=winners,
        first=first,
        olds=olds,
        limit=sql.Literal(limit),
    )


def from_json(kind: Typed, json: str, name: str) -> Composed:
    """A key column's value from its JSON."""
    text = sql.SQL("({}->>{})").format(raw(json), sql.Literal(name))
    return sql.SQL("{}::{}").format(text, raw(kind.type)) if kind.type else text
