-- Spellings that can only be one exchange: its own name in another case or with spaces around it.
-- Anything else stays unmapped and is reported; an operator who knows better adds a row to exchange_names here,
-- in this file, where the reviewer sees it.

CREATE FUNCTION map_legacy_spellings() RETURNS bigint
LANGUAGE sql AS $$
    WITH added AS (
        INSERT INTO exchange_names (legacy_name, exchange_id, is_canonical, reason)
        SELECT DISTINCT p.exchange, e.id, false, 'same name in another case or with spaces'
        FROM legacy_pairs p
        JOIN exchanges e ON e.enum_value = upper(btrim(p.exchange))
        ON CONFLICT (legacy_name) DO NOTHING
        RETURNING legacy_name
    )
    SELECT count(*) FROM added
$$;

SELECT map_legacy_spellings();
