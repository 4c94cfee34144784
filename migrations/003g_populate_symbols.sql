-- A symbol for every pair in the data whose exchange is understood. Pairs whose base equals the quote, or whose
-- asset names are not in capitals, get none: legacy_pair_problems lists them.

CREATE FUNCTION populate_symbols() RETURNS bigint
LANGUAGE sql AS $$
    SELECT count(ensure_symbol(t.enum_value, t.symbol_base, t.symbol_quote))
    FROM (
        SELECT DISTINCT e.enum_value, p.symbol_base, p.symbol_quote
        FROM legacy_pair_problems p
        JOIN exchange_names x ON x.legacy_name = p.exchange
        JOIN exchanges e ON e.id = x.exchange_id
        WHERE p.problem = 'no symbol yet'
        ORDER BY 1, 2, 3
    ) AS t
$$;

SELECT populate_symbols();

ANALYZE symbols;

ANALYZE exchange_names;
