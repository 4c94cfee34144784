-- Legacy and normalised rows held against each other. Each query reads the newest rows only and sees both sides in one
-- snapshot, so it is right while applications write; the comparison of every row is the engine's.

-- check: recent_tickers_missing
-- title: The newest 5,000 legacy tickers are in the normalised table with the same values
-- phase: 2
-- severity: error
-- expect: zero rows
SELECT o."timestamp", o.exchange, o.symbol_base, o.symbol_quote, v.symbol_id IS NULL AS missing
FROM (SELECT * FROM book_ticker_snapshots ORDER BY "timestamp" DESC LIMIT 5000) AS o
JOIN legacy_symbol_names l
    ON l.exchange = o.exchange AND l.symbol_base = o.symbol_base AND l.symbol_quote = o.symbol_quote
    AND l.is_canonical
LEFT JOIN book_ticker_snapshots_v2 v ON v."timestamp" = o."timestamp" AND v.symbol_id = l.symbol_id
WHERE (v.symbol_id IS NULL
   OR (v.id, v.bid_price, v.bid_qty, v.ask_price, v.ask_qty, v.sequence_number, v.update_type, v.created_at)
      IS DISTINCT FROM
      (o.id, o.bid_price, o.bid_qty, o.ask_price, o.ask_qty, o.sequence_number, o.update_type, o.created_at))
  -- A pair whose symbol was made a moment ago: its earlier rows wait among the rejects for the next comparison.
  AND NOT EXISTS (
      SELECT FROM pgferry.reject r
      WHERE r.mapping = 'book_ticker' AND r.direction = 'forward' AND v.symbol_id IS NULL
        AND (r.key->>'timestamp')::timestamptz = o."timestamp"
        AND (r.key->>'exchange', r.key->>'symbol_base', r.key->>'symbol_quote')
          = (o.exchange, o.symbol_base, o.symbol_quote))
LIMIT 20;

-- check: recent_tickers_extra
-- title: The newest 5,000 normalised tickers are in the legacy table under some spelling
-- phase: 2
-- severity: error
-- expect: zero rows
SELECT v."timestamp", v.symbol_id, v.id
FROM (SELECT * FROM book_ticker_snapshots_v2 ORDER BY "timestamp" DESC LIMIT 5000) AS v
WHERE NOT EXISTS (
    SELECT FROM legacy_symbol_names l
    JOIN book_ticker_snapshots o
        ON o."timestamp" = v."timestamp" AND o.exchange = l.exchange
        AND o.symbol_base = l.symbol_base AND o.symbol_quote = l.symbol_quote
    WHERE l.symbol_id = v.symbol_id
)
LIMIT 20;

-- check: recent_trades_missing
-- title: The newest 5,000 legacy trades are in the normalised table with the same values
-- phase: 2
-- severity: error
-- expect: zero rows
SELECT o."timestamp", o.exchange, o.symbol_base, o.symbol_quote, o.id, v.symbol_id IS NULL AS missing
FROM (SELECT * FROM trades ORDER BY "timestamp" DESC LIMIT 5000) AS o
JOIN legacy_symbol_names l
    ON l.exchange = o.exchange AND l.symbol_base = o.symbol_base AND l.symbol_quote = o.symbol_quote
    AND l.is_canonical
LEFT JOIN trade_snapshots_v2 v ON v."timestamp" = o."timestamp" AND v.symbol_id = l.symbol_id AND v.id = o.id
WHERE (v.symbol_id IS NULL
   OR (v.price, v.quantity, v.side, v.trade_id, v.quote_quantity, v.is_buyer, v.is_maker, v.created_at)
      IS DISTINCT FROM
      (o.price, o.quantity, o.side, o.trade_id, o.quote_quantity, o.is_buyer, o.is_maker, o.created_at))
  AND NOT EXISTS (
      SELECT FROM pgferry.reject r
      WHERE r.mapping = 'trades' AND r.direction = 'forward' AND v.symbol_id IS NULL
        AND (r.key->>'id')::bigint = o.id AND (r.key->>'timestamp')::timestamptz = o."timestamp"
        AND (r.key->>'exchange', r.key->>'symbol_base', r.key->>'symbol_quote')
          = (o.exchange, o.symbol_base, o.symbol_quote))
LIMIT 20;

-- check: dirty_rows
-- title: What is wrong with the legacy tickers that have no place in the new shape (newest 20,000)
-- phase: 2
-- severity: info
-- expect: report
SELECT problem, count(*) AS row_count, min(example) AS example
FROM (
    SELECT CASE
               WHEN o.symbol_base = o.symbol_quote THEN 'base equals quote'
               WHEN NOT EXISTS (SELECT FROM exchange_names x WHERE x.legacy_name = o.exchange)
                   THEN 'exchange name is not mapped'
               ELSE 'pair has no symbol'
           END AS problem,
           o.exchange || ' ' || o.symbol_base || '/' || o.symbol_quote AS example
    FROM (SELECT * FROM book_ticker_snapshots ORDER BY "timestamp" DESC LIMIT 20000) AS o
    WHERE NOT EXISTS (
        SELECT FROM legacy_symbol_names l
        WHERE l.exchange = o.exchange AND l.symbol_base = o.symbol_base AND l.symbol_quote = o.symbol_quote)
) AS p
GROUP BY problem
ORDER BY problem;

-- check: double_rows
-- title: Legacy tickers of one moment and symbol under several spellings (newest 20,000)
-- phase: 2
-- severity: info
-- expect: report
SELECT o."timestamp", l.symbol_id, count(*) AS row_count, string_agg(o.exchange, ', ') AS spellings
FROM (SELECT * FROM book_ticker_snapshots ORDER BY "timestamp" DESC LIMIT 20000) AS o
JOIN legacy_symbol_names l
    ON l.exchange = o.exchange AND l.symbol_base = o.symbol_base AND l.symbol_quote = o.symbol_quote
GROUP BY o."timestamp", l.symbol_id
HAVING count(*) > 1
LIMIT 20;

-- check: sizes_compared
-- title: Bytes of the legacy and the normalised tables
-- phase: 2
-- severity: info
-- expect: report
SELECT c.relname AS table_name, greatest(c.reltuples, 0)::bigint AS estimated_rows,
       pg_size_pretty(pg_relation_size(c.oid)) AS heap, pg_size_pretty(pg_indexes_size(c.oid)) AS indexes,
       round(pg_total_relation_size(c.oid) / nullif(greatest(c.reltuples, 0), 0)::numeric) AS bytes_per_row
FROM pg_class c
WHERE c.relname IN ('book_ticker_snapshots', 'trades', 'book_ticker_snapshots_v2', 'trade_snapshots_v2')
  AND c.relkind IN ('r', 'p')
ORDER BY c.relname;

-- check: compatible_columns
-- title: The compatibility views have the legacy columns with their types
-- phase: 2
-- severity: error
-- expect: zero rows
SELECT pair.old_table, coalesce(o.attname, n.attname) AS column_name, o.type AS old_type, n.type AS view_type
FROM (VALUES ('book_ticker_snapshots', 'book_ticker_snapshots_legacy'), ('trades', 'trades_legacy'))
    AS pair (old_table, view_name)
CROSS JOIN LATERAL (
    SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute
    WHERE attrelid = to_regclass(pair.old_table) AND attnum > 0 AND NOT attisdropped
) AS o
LEFT JOIN LATERAL (
    SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute
    WHERE attrelid = to_regclass(pair.view_name) AND attnum > 0 AND NOT attisdropped AND attname = o.attname
) AS n ON true
WHERE n.type IS DISTINCT FROM o.type;

-- check: compatible_tickers
-- title: The newest 1,000 legacy tickers read the same through the compatibility view
-- phase: 2
-- severity: error
-- expect: zero rows
SELECT o.id, o."timestamp", o.exchange, o.symbol_base, o.symbol_quote
FROM (SELECT * FROM book_ticker_snapshots ORDER BY "timestamp" DESC LIMIT 1000) AS o
JOIN legacy_symbol_names l
    ON l.exchange = o.exchange AND l.symbol_base = o.symbol_base AND l.symbol_quote = o.symbol_quote
    AND l.is_canonical
WHERE NOT EXISTS (
    SELECT FROM book_ticker_snapshots_legacy n
    WHERE n."timestamp" = o."timestamp" AND n.exchange = o.exchange
      AND n.symbol_base = o.symbol_base AND n.symbol_quote = o.symbol_quote
      AND (n.id, n.bid_price, n.bid_qty, n.ask_price, n.ask_qty, n.update_type)
        = (o.id, o.bid_price, o.bid_qty, o.ask_price, o.ask_qty, o.update_type)
)
LIMIT 20;

-- check: compatible_trades
-- title: The newest 1,000 legacy trades read the same through the compatibility view
-- phase: 2
-- severity: error
-- expect: zero rows
SELECT o.id, o."timestamp", o.exchange, o.symbol_base, o.symbol_quote
FROM (SELECT * FROM trades ORDER BY "timestamp" DESC LIMIT 1000) AS o
JOIN legacy_symbol_names l
    ON l.exchange = o.exchange AND l.symbol_base = o.symbol_base AND l.symbol_quote = o.symbol_quote
    AND l.is_canonical
WHERE NOT EXISTS (
    SELECT FROM trades_legacy n
    WHERE n."timestamp" = o."timestamp" AND n.exchange = o.exchange
      AND n.symbol_base = o.symbol_base AND n.symbol_quote = o.symbol_quote
      AND (n.id, n.price, n.quantity, n.side) = (o.id, o.price, o.quantity, o.side)
)
LIMIT 20;

-- check: compatible_latest
-- title: The old application's latest-ticker query finds the newest row (200 symbols)
-- phase: 2
-- severity: error
-- expect: zero rows
SELECT d.exchange, d.base_asset, d.quote_asset, l."timestamp" AS newest, f."timestamp" AS found
FROM (SELECT * FROM symbol_directory ORDER BY symbol_id LIMIT 200) AS d
LEFT JOIN LATERAL (
    SELECT max(v."timestamp") AS "timestamp" FROM book_ticker_snapshots_v2 v WHERE v.symbol_id = d.symbol_id
) AS l ON true
LEFT JOIN LATERAL latest_ticker_legacy(d.exchange, d.base_asset, d.quote_asset) AS f ON true
WHERE l."timestamp" IS DISTINCT FROM f."timestamp";
