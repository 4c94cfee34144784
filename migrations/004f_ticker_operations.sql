-- Writes in the legacy words into the normalised tables, for scripts that do not use the market-data layer:
-- each resolves the pair once and raises when the pair is unknown, so that no row is lost in silence.

CREATE FUNCTION known_symbol(p_exchange text, p_base text, p_quote text) RETURNS integer
LANGUAGE plpgsql STABLE AS $$
DECLARE
    known integer := (
        SELECT symbol_id FROM legacy_symbol_names
        WHERE exchange = p_exchange AND symbol_base = p_base AND symbol_quote = p_quote);
BEGIN
    IF known IS NULL THEN
        RAISE EXCEPTION 'no symbol stands for %/% of %', p_base, p_quote, p_exchange
            USING ERRCODE = 'foreign_key_violation', HINT = 'Create it with ensure_symbol.';
    END IF;
    RETURN known;
END
$$;

CREATE FUNCTION upsert_ticker(
    p_exchange text, p_base text, p_quote text, p_timestamp timestamptz,
    p_bid_price numeric, p_bid_qty numeric, p_ask_price numeric, p_ask_qty numeric,
    p_sequence_number bigint DEFAULT NULL, p_update_type text DEFAULT 'snapshot'
) RETURNS bigint
LANGUAGE sql AS $$
    INSERT INTO book_ticker_snapshots_v2
        ("timestamp", symbol_id, bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type)
    VALUES (p_timestamp, known_symbol(p_exchange, p_base, p_quote),
            p_bid_price, p_bid_qty, p_ask_price, p_ask_qty, p_sequence_number, p_update_type)
    ON CONFLICT ("timestamp", symbol_id) DO UPDATE SET
        bid_price = excluded.bid_price, bid_qty = excluded.bid_qty,
        ask_price = excluded.ask_price, ask_qty = excluded.ask_qty,
        sequence_number = excluded.sequence_number, update_type = excluded.update_type
    RETURNING id
$$;

CREATE FUNCTION insert_trade(
    p_exchange text, p_base text, p_quote text, p_timestamp timestamptz,
    p_price numeric, p_quantity numeric, p_side text, p_trade_id text DEFAULT NULL
) RETURNS bigint
LANGUAGE sql AS $$
    INSERT INTO trade_snapshots_v2 ("timestamp", symbol_id, price, quantity, side, trade_id, quote_quantity)
    VALUES (p_timestamp, known_symbol(p_exchange, p_base, p_quote),
            p_price, p_quantity, p_side, p_trade_id, round(p_price * p_quantity, 8))
    RETURNING id
$$;
