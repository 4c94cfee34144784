-- How the normalised tables do, from the server's own counters: nothing here reads a row of market data.

CREATE VIEW marketdata_table_health AS
SELECT
    c.relname AS table_name,
    greatest(c.reltuples, 0)::bigint AS estimated_rows,
    pg_total_relation_size(c.oid) AS total_bytes,
    pg_relation_size(c.oid) AS heap_bytes,
    pg_indexes_size(c.oid) AS index_bytes,
    s.n_tup_ins AS inserted, s.n_tup_upd AS updated, s.n_tup_del AS deleted,
    s.n_dead_tup AS dead_rows,
    s.seq_scan, s.idx_scan,
    round(100.0 * s.idx_scan / nullif(s.seq_scan + s.idx_scan, 0), 1) AS index_scan_percent,
    greatest(s.last_analyze, s.last_autoanalyze) AS last_analyzed
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE n.nspname = 'public'
  AND c.relname IN ('book_ticker_snapshots_v2', 'trade_snapshots_v2', 'symbols', 'exchanges',
                    'account_balances', 'balance_changes', 'order_executions', 'order_status_history');

CREATE VIEW marketdata_index_use AS
SELECT
    s.relname AS table_name, s.indexrelname AS index_name, s.idx_scan AS scans,
    pg_relation_size(s.indexrelid) AS bytes, i.indisvalid AND i.indisready AS usable
FROM pg_stat_user_indexes s
JOIN pg_index i ON i.indexrelid = s.indexrelid
WHERE s.schemaname = 'public'
  AND s.relname IN ('book_ticker_snapshots_v2', 'trade_snapshots_v2', 'symbols', 'exchanges');

-- How old the newest ticker of each exchange is: a collector that fell silent shows here.
CREATE VIEW exchange_freshness AS
SELECT
    e.enum_value AS exchange,
    count(l.symbol_id) AS symbols_with_data,
    max(l."timestamp") AS newest,
    now() - max(l."timestamp") AS age
FROM exchanges e
LEFT JOIN latest_book_ticker l ON l.exchange = e.enum_value
GROUP BY e.id, e.enum_value;

-- Measured latencies of both shapes, and how the newest compare with the first legacy ones.
CREATE VIEW performance_trend AS
SELECT
    p.operation, p.shape, p.taken_at, p.samples, p.p50_ms, p.p99_ms,
    round(p.p50_ms / nullif(b.p50_ms, 0), 2) AS p50_of_baseline
FROM performance_samples p
LEFT JOIN LATERAL (
    SELECT f.p50_ms FROM performance_samples f
    WHERE f.operation = p.operation AND f.shape = 'legacy'
    ORDER BY f.taken_at LIMIT 1
) AS b ON true;
