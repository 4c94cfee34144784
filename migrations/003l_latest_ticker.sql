-- The latest ticker of every symbol: one index probe a symbol, however many rows there are.
-- BETWEEN and ORDER BY symbol_id are no mistake: with "=" the planner may walk the primary key backwards in time, which
-- finds a busy symbol at once and reads the whole table for one that has no rows.

CREATE VIEW latest_book_ticker AS
SELECT
    s.id AS symbol_id, e.enum_value AS exchange, s.base_asset, s.quote_asset,
    t.id, t."timestamp", t.bid_price, t.bid_qty, t.ask_price, t.ask_qty,
    t.sequence_number, t.update_type, t.created_at
FROM symbols s
JOIN exchanges e ON e.id = s.exchange_id
CROSS JOIN LATERAL (
    SELECT * FROM book_ticker_snapshots_v2 b
    WHERE b.symbol_id BETWEEN s.id AND s.id
    ORDER BY b.symbol_id, b."timestamp" DESC
    LIMIT 1
) AS t;
