-- The normalised tables: their shape, indexes, keys, sequences and statistics. Cheap: catalogue and index probes.

-- check: new_tables_accept_old_values
-- title: The normalised columns take whatever the legacy columns take
-- phase: 2
-- severity: error
-- expect: zero rows
SELECT pair.old_table, o.attname AS column_name,
       format_type(o.atttypid, o.atttypmod) AS old_type, format_type(n.atttypid, n.atttypmod) AS new_type,
       o.attnotnull AS old_not_null, n.attnotnull AS new_not_null
FROM (VALUES ('book_ticker_snapshots', 'book_ticker_snapshots_v2'), ('trades', 'trade_snapshots_v2'))
    AS pair (old_table, new_table)
JOIN pg_class c ON c.oid = to_regclass(pair.old_table) AND c.relkind IN ('r', 'p')
JOIN pg_attribute o ON o.attrelid = c.oid AND o.attnum > 0 AND NOT o.attisdropped
JOIN pg_attribute n ON n.attrelid = to_regclass(pair.new_table) AND n.attname = o.attname AND NOT n.attisdropped
WHERE (o.atttypid, o.atttypmod) <> (n.atttypid, n.atttypmod) OR (n.attnotnull AND NOT o.attnotnull);

-- check: new_tables_share_sequences
-- title: Old and new table draw their ids from one sequence
-- phase: 2
-- severity: error
-- expect: zero rows
SELECT wanted.new_table, wanted.sequence_name
FROM (VALUES ('book_ticker_snapshots_v2', 'book_ticker_snapshots_id_seq'), ('trade_snapshots_v2', 'trades_id_seq'))
    AS wanted (new_table, sequence_name)
WHERE NOT EXISTS (
    SELECT FROM pg_attrdef a
    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid AND d.refclassid = 'pg_class'::regclass
    JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S' AND s.relname = wanted.sequence_name
    WHERE a.adrelid = to_regclass(wanted.new_table)
);

-- check: statistics_fresh
-- title: The planner has fresh statistics of the new tables
-- phase: 2
-- severity: error
-- kind: fresh statistics
-- tables: book_ticker_snapshots_v2, trade_snapshots_v2
-- percent: 30

-- check: ticker_sequence_ahead
-- title: The ticker sequence is ahead of the ids in use (newest 10,000 rows)
-- phase: 2
-- severity: error
-- expect: true
SELECT coalesce(max(id), 0) <= (SELECT last_value FROM book_ticker_snapshots_id_seq) AS ahead
FROM (SELECT id FROM book_ticker_snapshots_v2 ORDER BY "timestamp" DESC LIMIT 10000) AS newest;

-- check: trade_sequence_ahead
-- title: The trade sequence is ahead of the ids in use (newest 10,000 rows)
-- phase: 2
-- severity: error
-- expect: true
SELECT coalesce(max(id), 0) <= (SELECT last_value FROM trades_id_seq) AS ahead
FROM (SELECT id FROM trade_snapshots_v2 ORDER BY "timestamp" DESC LIMIT 10000) AS newest;

-- check: new_indexes_usable
-- title: The new tables' indexes are there, valid and ready
-- phase: 2
-- severity: error
-- expect: zero rows
SELECT wanted.name
FROM unnest(ARRAY['book_ticker_snapshots_v2_pkey', 'idx_book_ticker_v2_symbol_time', 'idx_book_ticker_v2_created_at',
                  'trade_snapshots_v2_pkey', 'idx_trade_v2_symbol_time']) AS wanted (name)
LEFT JOIN pg_index i ON i.indexrelid = to_regclass(wanted.name) AND i.indisvalid AND i.indisready
WHERE i.indexrelid IS NULL;

-- check: no_invalid_indexes
-- title: No index of the plan's tables is left half built
-- phase: 2
-- severity: error
-- kind: valid indexes
-- tables: book_ticker_snapshots_v2, trade_snapshots_v2, exchanges, symbols, exchange_names

-- check: foreign_keys_present
-- title: Both normalised tables refer to symbols
-- phase: 2
-- severity: error
-- expect: value = 2
SELECT count(*) FROM pg_constraint
WHERE contype = 'f' AND confrelid = to_regclass('symbols')
  AND conrelid IN (to_regclass('book_ticker_snapshots_v2'), to_regclass('trade_snapshots_v2'));

-- check: foreign_keys_valid
-- title: The foreign keys hold for the copied rows too
-- phase: 2
-- severity: error
-- expect: value = 2
SELECT count(*) FROM pg_constraint
WHERE contype = 'f' AND convalidated AND confrelid = to_regclass('symbols')
  AND conrelid IN (to_regclass('book_ticker_snapshots_v2'), to_regclass('trade_snapshots_v2'));

-- check: no_unvalidated_constraints
-- title: No constraint of the plan's tables is left not validated
-- phase: 2
-- severity: error
-- kind: valid constraints
-- tables: book_ticker_snapshots_v2, trade_snapshots_v2, exchanges, symbols, exchange_names

-- check: ticker_orphans
-- title: No ticker belongs to a symbol that is not there (one probe a symbol)
-- phase: 2
-- severity: error
-- expect: zero rows
WITH RECURSIVE used AS (
    (SELECT symbol_id FROM book_ticker_snapshots_v2 ORDER BY symbol_id LIMIT 1)
    UNION ALL
    SELECT (SELECT v.symbol_id FROM book_ticker_snapshots_v2 v WHERE v.symbol_id > u.symbol_id
            ORDER BY v.symbol_id LIMIT 1)
    FROM used u WHERE u.symbol_id IS NOT NULL
)
SELECT u.symbol_id FROM used u
WHERE u.symbol_id IS NOT NULL AND NOT EXISTS (SELECT FROM symbols s WHERE s.id = u.symbol_id);

-- check: trade_orphans
-- title: No trade belongs to a symbol that is not there (one probe a symbol)
-- phase: 2
-- severity: error
-- expect: zero rows
WITH RECURSIVE used AS (
    (SELECT symbol_id FROM trade_snapshots_v2 ORDER BY symbol_id LIMIT 1)
    UNION ALL
    SELECT (SELECT v.symbol_id FROM trade_snapshots_v2 v WHERE v.symbol_id > u.symbol_id
            ORDER BY v.symbol_id LIMIT 1)
    FROM used u WHERE u.symbol_id IS NOT NULL
)
SELECT u.symbol_id FROM used u
WHERE u.symbol_id IS NOT NULL AND NOT EXISTS (SELECT FROM symbols s WHERE s.id = u.symbol_id);

-- check: latest_uses_index
-- title: The latest ticker of a symbol is read by an index
-- phase: 2
-- severity: error
-- kind: uses index
-- table: book_ticker_snapshots_v2
-- index: idx_book_ticker_v2_symbol_time
SELECT * FROM latest_book_ticker WHERE symbol_id = 1;

-- check: recent_uses_index
-- title: The last minutes of a symbol are read by an index
-- phase: 2
-- severity: error
-- kind: uses index
-- table: book_ticker_snapshots_v2
SELECT * FROM book_ticker_snapshots_v2 WHERE symbol_id = 1 AND "timestamp" > now() - interval '5 min';

-- check: trades_use_index
-- title: The latest trades of a symbol are read by an index
-- phase: 2
-- severity: error
-- kind: uses index
-- table: trade_snapshots_v2
SELECT * FROM trade_snapshots_v2 WHERE symbol_id = 1 ORDER BY "timestamp" DESC LIMIT 100;

-- check: storage_saved
-- title: A normalised ticker with its indexes takes no more room than a legacy one
-- phase: 2
-- severity: warning
-- kind: size
-- table: book_ticker_snapshots_v2
-- against: book_ticker_snapshots
-- percent: 100
