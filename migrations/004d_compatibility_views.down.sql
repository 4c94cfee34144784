DROP VIEW trades_legacy;

DROP VIEW book_ticker_snapshots_legacy;
