DROP FUNCTION active_exchanges(text);

DROP FUNCTION exchange_by_enum(text);

DROP FUNCTION exchange_by_id(integer);
