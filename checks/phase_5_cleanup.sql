-- After the legacy tables were retired.

-- check: legacy_names_are_views
-- title: The legacy names are views now
-- phase: 5
-- severity: error
-- expect: zero rows
SELECT t.name, c.relkind
FROM unnest(ARRAY['book_ticker_snapshots', 'trades']) AS t (name)
LEFT JOIN pg_class c ON c.oid = to_regclass(t.name)
WHERE c.relkind IS DISTINCT FROM 'v';

-- check: legacy_names_answer
-- title: A reader that still uses the legacy names gets the newest rows
-- phase: 5
-- severity: error
-- expect: true
SELECT (SELECT max("timestamp") FROM (SELECT "timestamp" FROM book_ticker_snapshots ORDER BY 1 DESC LIMIT 1) AS a)
       IS NOT DISTINCT FROM (SELECT max("timestamp") FROM book_ticker_snapshots_v2)
   AND (SELECT max("timestamp") FROM (SELECT "timestamp" FROM trades ORDER BY 1 DESC LIMIT 1) AS b)
       IS NOT DISTINCT FROM (SELECT max("timestamp") FROM trade_snapshots_v2) AS same;

-- check: sequences_belong_to_new_tables
-- title: The id sequences belong to the normalised tables, so purging cannot take them along
-- phase: 5
-- severity: error
-- expect: true
SELECT pg_get_serial_sequence('book_ticker_snapshots_v2', 'id') IS NOT NULL
   AND pg_get_serial_sequence('trade_snapshots_v2', 'id') IS NOT NULL AS owned;

-- check: archive_report
-- title: What the archive holds until someone purges it
-- phase: 5
-- severity: info
-- expect: report
SELECT c.relname AS table_name, greatest(c.reltuples, 0)::bigint AS estimated_rows,
       pg_size_pretty(pg_total_relation_size(c.oid)) AS total
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'pgferry_archive' AND c.relkind IN ('r', 'p')
ORDER BY c.relname;

-- check: legacy_name_users
-- title: Sessions whose query still names a legacy table
-- phase: 5
-- severity: warning
-- expect: report
SELECT pid, application_name, usename, state, left(query, 200) AS query
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND query ~* '\m(book_ticker_snapshots|trades)\M';
