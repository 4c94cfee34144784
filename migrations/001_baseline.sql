-- The legacy schema of the arbitrage engine: exchange and pair as strings in every row.
-- Not a task: this is what the database looks like before the first one.

CREATE TABLE book_ticker_snapshots (
    id bigserial NOT NULL,
    exchange varchar(20) NOT NULL,
    symbol_base varchar(20) NOT NULL,
    symbol_quote varchar(20) NOT NULL,
    bid_price numeric(20, 8) NOT NULL,
    bid_qty numeric(20, 8) NOT NULL,
    ask_price numeric(20, 8) NOT NULL,
    ask_qty numeric(20, 8) NOT NULL,
    "timestamp" timestamptz NOT NULL,
    sequence_number bigint,
    update_type varchar(10) NOT NULL DEFAULT 'snapshot',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY ("timestamp", exchange, symbol_base, symbol_quote),
    CONSTRAINT chk_positive_prices CHECK (bid_price > 0 AND ask_price > 0),
    CONSTRAINT chk_positive_quantities CHECK (bid_qty > 0 AND ask_qty > 0),
    CONSTRAINT chk_bid_ask_spread CHECK (ask_price >= bid_price)
);

CREATE INDEX idx_book_ticker_exchange_symbol_time
    ON book_ticker_snapshots (exchange, symbol_base, symbol_quote, "timestamp" DESC);

CREATE INDEX idx_book_ticker_timestamp ON book_ticker_snapshots ("timestamp" DESC);

CREATE INDEX idx_book_ticker_created_at ON book_ticker_snapshots (created_at DESC);

CREATE TABLE trades (
    id bigserial NOT NULL,
    "timestamp" timestamptz NOT NULL,
    exchange varchar(20) NOT NULL,
    symbol_base varchar(20) NOT NULL,
    symbol_quote varchar(20) NOT NULL,
    price numeric(20, 8) NOT NULL,
    quantity numeric(20, 8) NOT NULL,
    side varchar(4) NOT NULL,
    trade_id text,
    quote_quantity numeric(20, 8),
    is_buyer boolean,
    is_maker boolean,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY ("timestamp", exchange, symbol_base, symbol_quote, id),
    CONSTRAINT chk_trade_price CHECK (price > 0),
    CONSTRAINT chk_trade_quantity CHECK (quantity > 0),
    CONSTRAINT chk_trade_side CHECK (side IN ('buy', 'sell'))
);
