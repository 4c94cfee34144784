DROP FUNCTION deactivate_exchange(text);

DROP FUNCTION update_exchange(text, text, text, text, integer, boolean);

DROP FUNCTION create_exchange(text, text, text, text, text, text, integer);

DROP TRIGGER exchanges_touch ON exchanges;

DROP FUNCTION touch_updated_at();
