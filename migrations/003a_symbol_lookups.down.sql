DROP FUNCTION search_symbols(text, integer);

DROP FUNCTION symbol_by_string(text, text);

DROP FUNCTION symbol_by_pair(text, text, text);
