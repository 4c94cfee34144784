DROP FUNCTION insert_trade(text, text, text, timestamptz, numeric, numeric, text, text);

DROP FUNCTION upsert_ticker(text, text, text, timestamptz, numeric, numeric, numeric, numeric, bigint, text);

DROP FUNCTION known_symbol(text, text, text);
