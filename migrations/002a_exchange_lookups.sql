-- Lookups of exchanges: by id, by the engine's name, and the active ones of a market.

CREATE FUNCTION exchange_by_id(p_id integer) RETURNS SETOF exchanges
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT * FROM exchanges WHERE id = p_id::smallint
$$;

CREATE FUNCTION exchange_by_enum(p_enum_value text) RETURNS SETOF exchanges
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT * FROM exchanges WHERE enum_value = p_enum_value
$$;

CREATE FUNCTION active_exchanges(p_market_type text DEFAULT NULL) RETURNS SETOF exchanges
LANGUAGE sql STABLE AS $$
    SELECT * FROM exchanges
    WHERE is_active AND (p_market_type IS NULL OR market_type = p_market_type)
    ORDER BY id
$$;
