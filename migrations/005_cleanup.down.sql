-- The legacy names are free again, and each sequence belongs to its legacy table, as before.

BEGIN;

DROP VIEW trades;

DROP VIEW book_ticker_snapshots;

ALTER SEQUENCE trades_id_seq OWNED BY NONE;

ALTER SEQUENCE trades_id_seq SET SCHEMA pgferry_archive;

ALTER SEQUENCE pgferry_archive.trades_id_seq OWNED BY pgferry_archive.trades.id;

ALTER SEQUENCE book_ticker_snapshots_id_seq OWNED BY NONE;

ALTER SEQUENCE book_ticker_snapshots_id_seq SET SCHEMA pgferry_archive;

ALTER SEQUENCE pgferry_archive.book_ticker_snapshots_id_seq OWNED BY pgferry_archive.book_ticker_snapshots.id;

COMMIT;
