DROP TABLE book_ticker_snapshots_v2;
