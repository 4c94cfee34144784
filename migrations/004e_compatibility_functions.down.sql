DROP FUNCTION trades_since_legacy(text, text, text, timestamptz, integer);

DROP FUNCTION tickers_since_legacy(text, text, text, timestamptz, integer);

DROP FUNCTION latest_ticker_legacy(text, text, text);
