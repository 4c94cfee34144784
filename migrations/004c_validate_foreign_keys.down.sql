-- There is no UNVALIDATE: the constraint is replaced by itself, not valid, in one statement.
ALTER TABLE trade_snapshots_v2
    DROP CONSTRAINT trade_v2_symbol_id_fkey,
    ADD CONSTRAINT trade_v2_symbol_id_fkey FOREIGN KEY (symbol_id) REFERENCES symbols (id) NOT VALID;

ALTER TABLE book_ticker_snapshots_v2
    DROP CONSTRAINT book_ticker_v2_symbol_id_fkey,
    ADD CONSTRAINT book_ticker_v2_symbol_id_fkey FOREIGN KEY (symbol_id) REFERENCES symbols (id) NOT VALID;
