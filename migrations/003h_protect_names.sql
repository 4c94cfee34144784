-- From here rows resolve through these names. Changing or removing one would make old and new rows differ without
-- a write to either table, so the database refuses it. Adding is free.

CREATE FUNCTION refuse_name_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows are found by this name in %: it cannot be changed or removed', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'Deactivate it, or roll back to before the names were protected.';
END
$$;

CREATE TRIGGER exchanges_protect BEFORE UPDATE OF id, enum_value ON exchanges
    FOR EACH ROW WHEN ((OLD.id, OLD.enum_value) IS DISTINCT FROM (NEW.id, NEW.enum_value))
    EXECUTE FUNCTION refuse_name_change();

CREATE TRIGGER symbols_protect BEFORE UPDATE OF id, exchange_id, base_asset, quote_asset ON symbols
    FOR EACH ROW WHEN (
        (OLD.id, OLD.exchange_id, OLD.base_asset, OLD.quote_asset)
        IS DISTINCT FROM (NEW.id, NEW.exchange_id, NEW.base_asset, NEW.quote_asset))
    EXECUTE FUNCTION refuse_name_change();

CREATE TRIGGER exchange_names_protect BEFORE UPDATE OR DELETE ON exchange_names
    FOR EACH ROW EXECUTE FUNCTION refuse_name_change();
