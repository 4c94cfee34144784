"""A database's schema as sorted lines, read inside a transaction: what two states must agree in to be the same."""

from __future__ import annotations

import psycopg

_USERS = "NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
_QUERIES = (
    f"SELECT 'schema', nspname, nspowner::regrole, nspacl FROM pg_namespace WHERE nspname {_USERS} AND nspname !~ '^pg_'",
    f"""SELECT 'relation', c.oid::regclass, relkind, relpersistence, relowner::regrole, relacl, reloptions, relrowsecurity,
      relforcerowsecurity, relreplident, reloftype::regtype, pg_get_expr(relpartbound, c.oid), pg_get_partkeydef(c.oid),
      relispartition, reltablespace FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
      WHERE nspname {_USERS} AND nspname !~ '^pg_'""",
    f"""SELECT 'column', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
      attstattarget, attstorage, attcompression, attoptions, attacl, attcollation::regcollation, attislocal, attinhcount,
      pg_get_expr(adbin, adrelid), row_number() OVER (PARTITION BY attrelid ORDER BY attnum)
      FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
      LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
      WHERE attnum > 0 AND NOT attisdropped AND nspname {_USERS} AND nspname !~ '^pg_'""",
    """SELECT 'constraint', conname, conrelid::regclass, contypid::regtype, pg_get_constraintdef(oid), convalidated, coninhcount,
      conislocal FROM pg_constraint WHERE oid >= 16384""",
    """SELECT 'index', pg_get_indexdef(indexrelid), indisvalid, indisclustered, indisreplident, indisunique, indisprimary
      FROM pg_index WHERE indexrelid >= 16384 AND indrelid::regclass::text !~ 'pg_toast'""",
    "SELECT 'trigger', pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE NOT tgisinternal",
    "SELECT 'rule', pg_get_ruledef(oid), ev_enabled FROM pg_rewrite WHERE oid >= 16384",
    """SELECT 'policy', polname, polrelid::regclass, polcmd, polpermissive, polroles::regrole[], pg_get_expr(polqual, polrelid),
      pg_get_expr(polwithcheck, polrelid) FROM pg_policy""",
    """SELECT 'routine', oid::regprocedure, proowner::regrole, proacl, proconfig, md5(prosrc || coalesce(prosqlbody::text, '')),
      prolang, provolatile FROM pg_proc WHERE oid >= 16384""",
    "SELECT 'type', oid::regtype, typtype, typowner::regrole, typacl, typdefault, typnotnull FROM pg_type WHERE oid >= 16384",
    "SELECT 'label', enumtypid::regtype, array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum GROUP BY enumtypid",
    """SELECT 'sequence', seqrelid::regclass, seqtypid::regtype, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle,
      (SELECT string_agg(refobjid::regclass || '.' || refobjsubid, ',') FROM pg_depend WHERE objid = seqrelid
       AND refclassid = 'pg_class'::regclass) FROM pg_sequence""",
    "SELECT 'heir', inhrelid::regclass, inhparent::regclass, inhseqno, inhdetachpending FROM pg_inherits",
    """SELECT 'statistics', stxname, pg_get_statisticsobjdef(oid), stxowner::regrole, stxstattarget, stxnamespace::regnamespace
      FROM pg_statistic_ext""",
    "SELECT 'comment', pg_describe_object(classoid, objoid, objsubid), description FROM pg_description WHERE objoid >= 16384",
    "SELECT 'publication', pubname, pubowner::regrole, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication",
    "SELECT 'published', prpubid, prrelid::regclass FROM pg_publication_rel",
    "SELECT 'published schema', pnpubid, pnnspid::regnamespace FROM pg_publication_namespace",
    "SELECT 'server', srvname, srvoptions, srvowner::regrole FROM pg_foreign_server",
    "SELECT 'wrapper', fdwname, fdwoptions FROM pg_foreign_data_wrapper",
    "SELECT 'foreign table', ftrelid::regclass, ftoptions FROM pg_foreign_table",
    "SELECT 'mapping', umuser::regrole, umserver, umoptions FROM pg_user_mapping",
    "SELECT 'role', rolname, rolsuper, rolinherit, rolcanlogin, rolconfig FROM pg_roles",
    "SELECT 'member', roleid::regrole, member::regrole FROM pg_auth_members WHERE roleid >= 16384",
    "SELECT 'cast', castsource::regtype, casttarget::regtype FROM pg_cast WHERE oid >= 16384",
    "SELECT 'event', evtname, evtevent, evtfoid::regproc, evtenabled FROM pg_event_trigger",
    "SELECT 'extension', extname, extversion FROM pg_extension",
    "SELECT 'default privileges', defaclrole::regrole, defaclnamespace::regnamespace, defaclobjtype, defaclacl FROM pg_default_acl",
    "SELECT 'range', rngtypid::regtype, rngsubtype::regtype FROM pg_range WHERE rngtypid >= 16384",
)


def schema_text(conn: psycopg.Connection) -> list[str]:
    """Every object of the database that is not the system's, one a line; needs PostgreSQL 15 or newer."""
    lines = [" | ".join(map(str, row)) for query in _QUERIES for row in conn.execute(query)]  # type: ignore[call-overload]
    return sorted(lines)
