-- The sequences stay where they are: an id is never given twice. Symbols of late pairs stay too.
DROP STATISTICS symbols_exchange_quote;

ALTER TABLE trade_snapshots_v2 ALTER COLUMN symbol_id SET STATISTICS -1;

ALTER TABLE book_ticker_snapshots_v2 ALTER COLUMN symbol_id SET STATISTICS -1;
