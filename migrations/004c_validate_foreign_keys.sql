-- The copied rows are read once, under a lock that lets reads and writes pass.

ALTER TABLE book_ticker_snapshots_v2 VALIDATE CONSTRAINT book_ticker_v2_symbol_id_fkey;

ALTER TABLE trade_snapshots_v2 VALIDATE CONSTRAINT trade_v2_symbol_id_fkey;
