-- The normalised ticker table, beside the legacy one. Primary key and CHECKs now; other indexes and the foreign
-- key after the copy, where they are cheaper and hold nobody up.
-- id draws from the legacy table's own sequence, so that ids never collide whichever table a row is written to.

CREATE TABLE book_ticker_snapshots_v2 (
    id bigint NOT NULL DEFAULT nextval('book_ticker_snapshots_id_seq'::regclass),
    "timestamp" timestamptz NOT NULL,
    symbol_id integer NOT NULL,
    bid_price numeric(20, 8) NOT NULL,
    bid_qty numeric(20, 8) NOT NULL,
    ask_price numeric(20, 8) NOT NULL,
    ask_qty numeric(20, 8) NOT NULL,
    sequence_number bigint,
    update_type varchar(10) NOT NULL DEFAULT 'snapshot',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY ("timestamp", symbol_id),
    CONSTRAINT book_ticker_v2_prices CHECK (bid_price > 0 AND ask_price > 0),
    CONSTRAINT book_ticker_v2_quantities CHECK (bid_qty > 0 AND ask_qty > 0),
    CONSTRAINT book_ticker_v2_spread CHECK (ask_price >= bid_price)
);
