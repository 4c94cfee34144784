-- Find or create, update and deactivate a symbol. A symbol is never deleted: rows refer to it.

-- MEXC writes BTCUSDT, Gate.io BTC_USDT. This is only the first proposal: see ensure_symbol.
CREATE FUNCTION symbol_spelling(p_exchange text, p_base text, p_quote text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_base || CASE WHEN p_exchange LIKE 'MEXC%' THEN '' ELSE '_' END || p_quote
$$;

-- The id of a pair on an exchange; made when it is not there yet. Looks first, so that nothing is locked and no
-- id is used up for a known pair. Two pairs can spell the same without a separator (AB/CUSDT and ABC/USDT):
-- the later one then takes BASE_QUOTE.
CREATE FUNCTION ensure_symbol(p_exchange text, p_base text, p_quote text) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    venue smallint := (SELECT id FROM exchanges WHERE enum_value = p_exchange);
    spelling text := symbol_spelling(p_exchange, p_base, p_quote);
    found_id integer;
BEGIN
    IF venue IS NULL THEN
        RAISE EXCEPTION 'no exchange is called %', p_exchange USING ERRCODE = 'no_data_found';
    END IF;
    FOR attempt IN 1..3 LOOP
        SELECT id INTO found_id FROM symbols
        WHERE exchange_id = venue AND base_asset = p_base AND quote_asset = p_quote;
        EXIT WHEN found_id IS NOT NULL;
        INSERT INTO symbols (exchange_id, base_asset, quote_asset, symbol_string)
        VALUES (venue, p_base, p_quote, spelling)
        ON CONFLICT DO NOTHING
        RETURNING id INTO found_id;
        EXIT WHEN found_id IS NOT NULL;
        spelling := p_base || '_' || p_quote;
    END LOOP;
    IF found_id IS NULL THEN
        RAISE EXCEPTION 'the pair %/% of % has no free symbol string', p_base, p_quote, p_exchange
            USING ERRCODE = 'unique_violation';
    END IF;
    RETURN found_id;
END
$$;

-- Only the given limits change.
CREATE FUNCTION update_symbol(
    p_id integer,
    p_price_precision integer DEFAULT NULL,
    p_quantity_precision integer DEFAULT NULL,
    p_min_order_size numeric DEFAULT NULL,
    p_max_order_size numeric DEFAULT NULL,
    p_tick_size numeric DEFAULT NULL,
    p_step_size numeric DEFAULT NULL,
    p_is_active boolean DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    changed integer;
BEGIN
    UPDATE symbols SET
        price_precision = coalesce(p_price_precision::smallint, price_precision),
        quantity_precision = coalesce(p_quantity_precision::smallint, quantity_precision),
        min_order_size = coalesce(p_min_order_size, min_order_size),
        max_order_size = coalesce(p_max_order_size, max_order_size),
        tick_size = coalesce(p_tick_size, tick_size),
        step_size = coalesce(p_step_size, step_size),
        is_active = coalesce(p_is_active, is_active)
    WHERE id = p_id
    RETURNING id INTO changed;
    IF changed IS NULL THEN
        RAISE EXCEPTION 'no symbol has the id %', p_id USING ERRCODE = 'no_data_found';
    END IF;
    RETURN changed;
END
$$;

CREATE FUNCTION deactivate_symbol(p_id integer) RETURNS integer
LANGUAGE sql AS $$
    SELECT update_symbol(p_id, p_is_active => false)
$$;

-- Note when a pair was last heard of; never moves back. Returns how many symbols changed.
CREATE FUNCTION touch_symbols(p_ids integer[], p_seen timestamptz DEFAULT now()) RETURNS integer
LANGUAGE sql AS $$
    WITH touched AS (
        UPDATE symbols SET last_seen = p_seen
        WHERE id = ANY (p_ids) AND (last_seen IS NULL OR last_seen < p_seen)
        RETURNING id
    )
    SELECT count(*)::integer FROM touched
$$;
