DROP TRIGGER symbols_notify ON symbols;

DROP TRIGGER exchanges_notify ON exchanges;

DROP FUNCTION notify_marketdata_cache();

DROP VIEW symbol_directory;
