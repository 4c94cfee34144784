-- What the applications' symbol cache needs: everything in one view (one round trip), and a notification on the
-- channel marketdata_cache when a name, a pair or a limit changed. last_seen changes often and is left out.

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
    PERFORM pg_notify('marketdata_cache', TG_TABLE_NAME);
    RETURN NULL;
END
$$;

CREATE TRIGGER exchanges_notify AFTER INSERT OR UPDATE OR DELETE ON exchanges
    FOR EACH STATEMENT EXECUTE FUNCTION notify_marketdata_cache();

CREATE TRIGGER symbols_notify
    AFTER INSERT OR DELETE OR UPDATE OF
        exchange_id, base_asset, quote_asset, symbol_string, is_active, price_precision, quantity_precision,
        min_order_size, max_order_size, tick_size, step_size
    ON symbols
    FOR EACH STATEMENT EXECUTE FUNCTION notify_marketdata_cache();
