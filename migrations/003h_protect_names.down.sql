DROP TRIGGER exchange_names_protect ON exchange_names;

DROP TRIGGER symbols_protect ON symbols;

DROP TRIGGER exchanges_protect ON exchanges;

DROP FUNCTION refuse_name_change();
