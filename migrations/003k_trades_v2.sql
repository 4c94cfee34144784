-- The normalised trades table, beside the legacy one.

CREATE TABLE trade_snapshots_v2 (
    id bigint NOT NULL DEFAULT nextval('trades_id_seq'::regclass),
    "timestamp" timestamptz NOT NULL,
    symbol_id integer NOT NULL,
    price numeric(20, 8) NOT NULL,
    quantity numeric(20, 8) NOT NULL,
    side varchar(4) NOT NULL,
    trade_id text,
    quote_quantity numeric(20, 8),
    is_buyer boolean,
    is_maker boolean,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY ("timestamp", symbol_id, id),
    CONSTRAINT trade_v2_price CHECK (price > 0),
    CONSTRAINT trade_v2_quantity CHECK (quantity > 0),
    CONSTRAINT trade_v2_side CHECK (side IN ('buy', 'sell'))
);
