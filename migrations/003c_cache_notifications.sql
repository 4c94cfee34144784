-- What the applications' symbol cache needs: everything in one view (one round trip), and a notification on the
-- channel marketdata_cache when an exchange, a pair or a limit changed. It names the symbols, {"symbols": [1, 2]};
-- where an exchange changed, or too many symbols for a message, it is {}: load everything. last_seen and updated_at
-- change often and are left out.

CREATE VIEW symbol_directory AS
SELECT
    s.id AS symbol_id, s.exchange_id, e.enum_value AS exchange, e.market_type,
    s.base_asset, s.quote_asset, s.symbol_string,
    s.is_active AND e.is_active AS is_active,
    s.price_precision, s.quantity_precision,
    s.min_order_size, s.max_order_size, s.tick_size, s.step_size
FROM symbols s
JOIN exchanges e ON e.id = s.exchange_id;

CREATE FUNCTION notify_marketdata_cache() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('marketdata_cache', '{}');
    RETURN NULL;
END
$$;

-- Rows that are the same before and after, but for the two columns, are not named.
CREATE FUNCTION notify_marketdata_symbols() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    v_most constant integer := 200;
    v_ids integer[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(id) INTO v_ids FROM (SELECT id FROM made LIMIT v_most + 1) AS named;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(id) INTO v_ids FROM (SELECT id FROM gone LIMIT v_most + 1) AS named;
    ELSE
        SELECT array_agg(id) INTO v_ids
        FROM (
            SELECT DISTINCT c.id FROM (
                (SELECT to_jsonb(m) - 'last_seen' - 'updated_at' AS r FROM made m
                 EXCEPT SELECT to_jsonb(g) - 'last_seen' - 'updated_at' FROM gone g)
                UNION ALL
                (SELECT to_jsonb(g) - 'last_seen' - 'updated_at' FROM gone g
                 EXCEPT SELECT to_jsonb(m) - 'last_seen' - 'updated_at' FROM made m)
            ) AS d CROSS JOIN LATERAL (SELECT (d.r ->> 'id')::integer) AS c (id)
            LIMIT v_most + 1
        ) AS named;
    END IF;
    IF v_ids IS NOT NULL THEN
        PERFORM pg_notify('marketdata_cache', CASE
            WHEN cardinality(v_ids) > v_most THEN '{}'
            ELSE json_build_object('symbols', to_json(v_ids))::text
        END);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER exchanges_notify AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON exchanges
    FOR EACH STATEMENT EXECUTE FUNCTION notify_marketdata_cache();

CREATE TRIGGER symbols_notify_truncate AFTER TRUNCATE ON symbols
    FOR EACH STATEMENT EXECUTE FUNCTION notify_marketdata_cache();

CREATE TRIGGER symbols_notify_insert AFTER INSERT ON symbols
    REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION notify_marketdata_symbols();

CREATE TRIGGER symbols_notify_update AFTER UPDATE ON symbols
    REFERENCING OLD TABLE AS gone NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION notify_marketdata_symbols();

CREATE TRIGGER symbols_notify_delete AFTER DELETE ON symbols
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION notify_marketdata_symbols();
