DROP INDEX CONCURRENTLY idx_trade_v2_symbol_time;

DROP INDEX CONCURRENTLY idx_book_ticker_v2_created_at;

DROP INDEX CONCURRENTLY idx_book_ticker_v2_symbol_time;
