DELETE FROM symbols;

DROP FUNCTION populate_symbols();
