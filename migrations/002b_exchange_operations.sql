-- Create, update and deactivate an exchange. An exchange is never deleted: rows refer to it.

CREATE FUNCTION touch_updated_at() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TRIGGER exchanges_touch BEFORE UPDATE ON exchanges
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE FUNCTION create_exchange(
    p_enum_value text,
    p_name text,
    p_display_name text,
    p_market_type text,
    p_base_url text DEFAULT NULL,
    p_websocket_url text DEFAULT NULL,
    p_rate_limit integer DEFAULT NULL
) RETURNS smallint
LANGUAGE sql AS $$
    INSERT INTO exchanges
        (enum_value, name, display_name, market_type, base_url, websocket_url, rate_limit_requests_per_second)
    VALUES (p_enum_value, p_name, p_display_name, p_market_type, p_base_url, p_websocket_url, p_rate_limit)
    RETURNING id
$$;

-- Only the given settings change. The engine's name of an exchange stays: legacy rows are found by it.
CREATE FUNCTION update_exchange(
    p_enum_value text,
    p_display_name text DEFAULT NULL,
    p_base_url text DEFAULT NULL,
    p_websocket_url text DEFAULT NULL,
    p_rate_limit integer DEFAULT NULL,
    p_is_active boolean DEFAULT NULL
) RETURNS smallint
LANGUAGE plpgsql AS $$
DECLARE
    changed smallint;
BEGIN
    UPDATE exchanges SET
        display_name = coalesce(p_display_name, display_name),
        base_url = coalesce(p_base_url, base_url),
        websocket_url = coalesce(p_websocket_url, websocket_url),
        rate_limit_requests_per_second = coalesce(p_rate_limit, rate_limit_requests_per_second),
        is_active = coalesce(p_is_active, is_active)
    WHERE enum_value = p_enum_value
    RETURNING id INTO changed;
    IF changed IS NULL THEN
        RAISE EXCEPTION 'no exchange is called %', p_enum_value USING ERRCODE = 'no_data_found';
    END IF;
    RETURN changed;
END
$$;

CREATE FUNCTION deactivate_exchange(p_enum_value text) RETURNS smallint
LANGUAGE sql AS $$
    SELECT update_exchange(p_enum_value, p_is_active => false)
$$;
