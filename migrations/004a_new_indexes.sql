-- Latest and range queries of one symbol, and what was stored last. The time range over all symbols is the
-- primary key's. Concurrently: nobody waits.

CREATE INDEX CONCURRENTLY idx_book_ticker_v2_symbol_time
    ON book_ticker_snapshots_v2 (symbol_id, "timestamp" DESC);

CREATE INDEX CONCURRENTLY idx_book_ticker_v2_created_at
    ON book_ticker_snapshots_v2 (created_at DESC);

CREATE INDEX CONCURRENTLY idx_trade_v2_symbol_time
    ON trade_snapshots_v2 (symbol_id, "timestamp" DESC);
