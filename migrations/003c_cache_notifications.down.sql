DROP TRIGGER symbols_notify_delete ON symbols;

DROP TRIGGER symbols_notify_update ON symbols;

DROP TRIGGER symbols_notify_insert ON symbols;

DROP TRIGGER symbols_notify_truncate ON symbols;

DROP TRIGGER exchanges_notify ON exchanges;

DROP FUNCTION notify_marketdata_symbols();

DROP FUNCTION notify_marketdata_cache();

DROP VIEW symbol_directory;
