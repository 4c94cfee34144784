-- Lookups of symbols: by the exchange's name and the pair, by the exchange's own spelling, and search.

CREATE FUNCTION symbol_by_pair(p_exchange text, p_base text, p_quote text) RETURNS SETOF symbols
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT s.* FROM symbols s JOIN exchanges e ON e.id = s.exchange_id
    WHERE e.enum_value = p_exchange AND s.base_asset = p_base AND s.quote_asset = p_quote
$$;

CREATE FUNCTION symbol_by_string(p_exchange text, p_symbol_string text) RETURNS SETOF symbols
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT s.* FROM symbols s JOIN exchanges e ON e.id = s.exchange_id
    WHERE e.enum_value = p_exchange AND s.symbol_string = p_symbol_string
$$;

-- Active symbols whose base or quote begins with the given letters, in any case.
CREATE FUNCTION search_symbols(p_prefix text, p_limit integer DEFAULT 50)
RETURNS TABLE (symbol_id integer, exchange varchar, base_asset varchar, quote_asset varchar, symbol_string varchar)
LANGUAGE sql STABLE AS $$
    SELECT s.id, e.enum_value, s.base_asset, s.quote_asset, s.symbol_string
    FROM symbols s JOIN exchanges e ON e.id = s.exchange_id
    WHERE s.is_active AND (starts_with(s.base_asset, upper(p_prefix)) OR starts_with(s.quote_asset, upper(p_prefix)))
    ORDER BY s.base_asset, s.quote_asset, e.enum_value
    LIMIT p_limit
$$;
