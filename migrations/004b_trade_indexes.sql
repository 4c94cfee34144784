-- The trades of one symbol, newest first.

CREATE INDEX CONCURRENTLY idx_trade_v2_symbol_time
    ON trade_snapshots_v2 (symbol_id, "timestamp" DESC);
