DROP FUNCTION touch_symbols(integer[], timestamptz);

DROP FUNCTION deactivate_symbol(integer);

DROP FUNCTION update_symbol(integer, integer, integer, numeric, numeric, numeric, numeric, boolean);

DROP FUNCTION ensure_symbol(text, text, text);

DROP FUNCTION symbol_spelling(text, text, text);
