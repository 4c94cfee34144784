-- After the legacy tables were retired (moved to the archive schema): views with their names, so that a forgotten
-- reader goes on working and a forgotten writer is told so by an error. The id sequences come back to the schema
-- of the tables that use them, so that purging the archive cannot touch them.

BEGIN;

ALTER SEQUENCE pgferry_archive.book_ticker_snapshots_id_seq OWNED BY NONE;

ALTER SEQUENCE pgferry_archive.book_ticker_snapshots_id_seq SET SCHEMA public;

ALTER SEQUENCE book_ticker_snapshots_id_seq OWNED BY book_ticker_snapshots_v2.id;

ALTER SEQUENCE pgferry_archive.trades_id_seq OWNED BY NONE;

ALTER SEQUENCE pgferry_archive.trades_id_seq SET SCHEMA public;

ALTER SEQUENCE trades_id_seq OWNED BY trade_snapshots_v2.id;

CREATE VIEW book_ticker_snapshots AS SELECT * FROM book_ticker_snapshots_legacy;

CREATE VIEW trades AS SELECT * FROM trades_legacy;

COMMIT;
