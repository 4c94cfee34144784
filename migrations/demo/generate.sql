-- Legacy rows as production has them, the same on every run: tickers as many as the setting pgferry.demo_rows says,
-- a fifth of that in trades. Every value comes from the row's number or a hash of it.
-- 0.3 % of the rows are dirty on purpose, each kind in its own share; see the CASE expressions below.
-- Runs once, in one transaction, on the empty tables of 001_baseline.sql.

-- step: pairs
CREATE TEMPORARY TABLE demo_pair ON COMMIT DROP AS
SELECT
    (row_number() OVER ())::integer - 1 AS n,
    base::varchar(20) AS base,
    (CASE WHEN price < 0 THEN 'BTC' ELSE 'USDT' END)::varchar(20) AS quote,
    abs(price)::float8 * 1e8 AS units,  -- the price in steps of 0.00000001
    5e11 / abs(price)::float8 AS lot  -- what 5,000 buy, in the same steps
FROM (VALUES
    -- A negative price marks a pair quoted in BTC.
    ('BTC', 112800.5), ('ETH', 3830.25), ('SOL', 182.4), ('XRP', 2.38), ('LUNC', 0.0000352),
    ('PEPE', 0.00000712), ('SHIB', 0.00001024), ('BONK', 0.0000148), ('FLOKI', 0.0000733), ('BTT', 0.00000352),
    ('DOGE', 0.1895), ('ADA', 0.6321), ('TRX', 0.3187), ('LINK', 17.42), ('DOT', 2.97),
    ('AVAX', 21.6), ('LTC', 96.2), ('BCH', 520.1), ('UNI', 6.31), ('ATOM', 3.27),
    ('XLM', 0.3164), ('NEAR', 2.35), ('APT', 3.6), ('ARB', 0.311), ('OP', 0.452),
    ('SUI', 2.72), ('SEI', 0.201), ('TIA', 1.04), ('INJ', 8.9), ('FIL', 1.61),
    ('ETC', 15.9), ('HBAR', 0.1718), ('VET', 0.0176), ('ICP', 3.2), ('ALGO', 0.181),
    ('AAVE', 243.7), ('MKR', 1502.0), ('CRV', 0.561), ('LDO', 0.902), ('SAND', 0.212),
    ('MANA', 0.236), ('AXS', 1.57), ('GALA', 0.0109), ('CHZ', 0.0306), ('ENJ', 0.0481),
    ('1INCH', 0.181), ('WIF', 0.533), ('JUP', 0.371), ('PYTH', 0.112), ('STRK', 0.117),
    ('ETH', -0.03396), ('SOL', -0.001617), ('XRP', -0.0000211), ('ADA', -0.0000056), ('LTC', -0.000853),
    ('KAS', 0.0551), ('RUNE', 0.94), ('EGLD', 9.9), ('ZIL', 0.0079), ('SATS', 0.00000271)
) AS known (base, price);

-- Known to the planner to be small, it is hashed and the rows keep the order of their numbers. Production wrote them
-- in the order of time; a merge join would scatter every minute over the whole table.
ANALYZE demo_pair;

SET LOCAL enable_mergejoin = off;

-- Decimals below are whole steps times 0.00000001: exact, and quicker than rounding a float.

-- step: indexes aside
-- Filling first and indexing afterwards takes half the time. Their definitions come from the catalogue.
CREATE TEMPORARY TABLE demo_index ON COMMIT DROP AS
SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition
FROM pg_index i
WHERE i.indrelid IN ('book_ticker_snapshots'::regclass, 'trades'::regclass) AND NOT i.indisprimary
ORDER BY i.indexrelid;

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT d.name FROM demo_index d LOOP
        EXECUTE 'DROP INDEX ' || name;
    END LOOP;
END
$$;

-- step: book tickers
-- One row each 40 ms; the odd microseconds keep every instant apart, those of late rows too.
INSERT INTO book_ticker_snapshots (
    id, exchange, symbol_base, symbol_quote, bid_price, bid_qty, ask_price, ask_qty,
    "timestamp", sequence_number, update_type, created_at)
SELECT
    g + g / 1000 * 7 + g / 250000 * 100000,
    CASE
        WHEN dirt < 8 THEN lower(venue)
        WHEN dirt < 14 THEN ' ' || venue || ' '
        WHEN dirt < 20 THEN 'GATEIO'
        WHEN dirt < 26 THEN 'BINANCE'
        ELSE venue
    END,
    p.base,
    CASE WHEN dirt BETWEEN 26 AND 29 THEN p.base ELSE p.quote END,
    0.00000001 * bid,
    0.00000001 * (1 + p.lot * (h >> 8 & 1023) / 1024)::bigint,
    0.00000001 * (bid + 1 + (p.units * (h >> 20 & 15) / 20000)::bigint),
    0.00000001 * (1 + p.lot * (h >> 24 & 1023) / 1024)::bigint,
    seen - CASE WHEN is_late THEN interval '1 second' * (1 + (h >> 34 & 511)) ELSE interval '0' END,
    CASE WHEN h & 7 <> 0 THEN 4000000000 + g END,
    CASE WHEN g % 500 = 0 THEN 'snapshot' ELSE 'update' END,
    seen + interval '1 millisecond' * (3 + (h >> 44 & 63))
FROM (
    SELECT
        g,
        g * 7919 % 10000 AS dirt,
        g % 211 = 0 AS is_late,
        hashint8extended(g, 20251011) & 9223372036854775807 AS h,
        timestamptz '2025-10-11 00:00:00+00' + interval '1 microsecond' * (g * 40000 + g % 20000) AS seen
    FROM generate_series(1, current_setting('pgferry.demo_rows')::bigint
        - least(20, current_setting('pgferry.demo_rows')::bigint / 50)) AS g
) AS r
CROSS JOIN LATERAL (
    SELECT (ARRAY['MEXC_SPOT', 'GATEIO_SPOT', 'GATEIO_FUTURES'])[1 + h % 3] AS venue, (h / 3 % 60)::integer AS pick
) AS v
JOIN demo_pair p ON p.n = v.pick
CROSS JOIN LATERAL (
    SELECT 1 + (p.units * (1 + 0.02 * sin(g / 5000.0::float8) + ((h >> 14 & 63) - 31) / 50000.0::float8))::bigint AS bid
) AS q;

-- step: twins
-- The same instant and pair a second time under another spelling: two legacy rows that the new key cannot both take.
SELECT setval('book_ticker_snapshots_id_seq', (SELECT max(id) + 1000 FROM book_ticker_snapshots));

INSERT INTO book_ticker_snapshots (
    exchange, symbol_base, symbol_quote, bid_price, bid_qty, ask_price, ask_qty,
    "timestamp", sequence_number, update_type, created_at)
SELECT
    lower(exchange), symbol_base, symbol_quote, bid_price, bid_qty + 1, ask_price + 0.00000001, ask_qty,
    "timestamp", sequence_number, update_type, created_at + interval '30 seconds'
FROM book_ticker_snapshots
WHERE exchange = 'MEXC_SPOT' AND symbol_base <> symbol_quote
ORDER BY "timestamp"
LIMIT least(20, current_setting('pgferry.demo_rows')::bigint / 50);

SELECT setval('book_ticker_snapshots_id_seq', (SELECT max(id) + 500 FROM book_ticker_snapshots));

-- step: trades
INSERT INTO trades (
    id, "timestamp", exchange, symbol_base, symbol_quote, price, quantity, side, trade_id, quote_quantity,
    is_buyer, is_maker, created_at)
SELECT
    g + g / 500 * 3,
    seen - CASE WHEN g % 307 = 0 THEN interval '1 second' * (1 + (h >> 34 & 511)) ELSE interval '0' END,
    CASE
        WHEN dirt < 8 THEN lower(venue)
        WHEN dirt < 14 THEN ' ' || venue || ' '
        WHEN dirt < 20 THEN 'GATEIO'
        WHEN dirt < 26 THEN 'BINANCE'
        ELSE venue
    END,
    p.base,
    CASE WHEN dirt BETWEEN 26 AND 29 THEN p.base ELSE p.quote END,
    paid,
    quantity,
    CASE WHEN h & 1 = 0 THEN 'buy' ELSE 'sell' END,
    CASE WHEN h & 31 <> 0 THEN 't' || to_hex(h) END,
    CASE WHEN h & 2 = 0 THEN round(paid * quantity, 8) END,
    CASE WHEN h & 4 = 0 THEN h & 1 = 0 END,
    CASE WHEN h & 4 = 0 THEN h & 8 = 0 END,
    seen + interval '1 millisecond' * (3 + (h >> 44 & 63))
FROM (
    SELECT
        g,
        g * 7919 % 10000 AS dirt,
        hashint8extended(g, 20251012) & 9223372036854775807 AS h,
        timestamptz '2025-10-11 00:00:00+00' + interval '1 microsecond' * (g * 200000 + g % 20000) AS seen
    FROM generate_series(1, current_setting('pgferry.demo_rows')::bigint / 5) AS g
) AS r
CROSS JOIN LATERAL (
    SELECT (ARRAY['MEXC_SPOT', 'GATEIO_SPOT', 'GATEIO_FUTURES'])[1 + h % 3] AS venue, (h / 3 % 60)::integer AS pick
) AS v
JOIN demo_pair p ON p.n = v.pick
CROSS JOIN LATERAL (
    SELECT
        0.00000001 * (1 + (p.units * (1 + 0.02 * sin(g / 1000.0::float8)))::bigint) AS paid,
        0.00000001 * (1 + p.lot / 50 * (h >> 8 & 1023) / 1024)::bigint AS quantity
) AS q;

SELECT setval('trades_id_seq', (SELECT coalesce(max(id), 0) + 500 FROM trades));

-- step: indexes
SET LOCAL maintenance_work_mem = '256MB';

DO $$
DECLARE
    definition text;
BEGIN
    FOR definition IN SELECT d.definition FROM demo_index d LOOP
        EXECUTE definition;
    END LOOP;
END
$$;

-- step: statistics
ANALYZE book_ticker_snapshots;
ANALYZE trades;
