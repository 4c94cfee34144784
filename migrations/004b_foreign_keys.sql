-- Foreign keys hold for every new row from here; NOT VALID reads no old ones, so the lock is short.

ALTER TABLE book_ticker_snapshots_v2
    ADD CONSTRAINT book_ticker_v2_symbol_id_fkey FOREIGN KEY (symbol_id) REFERENCES symbols (id) NOT VALID;

ALTER TABLE trade_snapshots_v2
    ADD CONSTRAINT trade_v2_symbol_id_fkey FOREIGN KEY (symbol_id) REFERENCES symbols (id) NOT VALID;
