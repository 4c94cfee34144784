-- Which pairs do the legacy tables hold? Tickers by hopping from pair to pair along the legacy index (a probe for
-- each pair, whatever the number of rows); trades have no such index and are read once. Only reads the legacy tables.

CREATE FUNCTION refresh_legacy_pairs() RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    fresh bigint;
BEGIN
    WITH RECURSIVE tickers AS (
        (SELECT exchange, symbol_base, symbol_quote FROM book_ticker_snapshots
         ORDER BY exchange, symbol_base, symbol_quote LIMIT 1)
        UNION ALL
        SELECT n.exchange, n.symbol_base, n.symbol_quote
        FROM tickers t
        CROSS JOIN LATERAL (
            SELECT b.exchange, b.symbol_base, b.symbol_quote FROM book_ticker_snapshots b
            WHERE (b.exchange, b.symbol_base, b.symbol_quote) > (t.exchange, t.symbol_base, t.symbol_quote)
            ORDER BY b.exchange, b.symbol_base, b.symbol_quote LIMIT 1
        ) AS n
    ), found AS (
        SELECT exchange, symbol_base, symbol_quote, true AS in_tickers, false AS in_trades FROM tickers
        UNION ALL
        SELECT DISTINCT exchange, symbol_base, symbol_quote, false, true FROM trades
    ), written AS (
        INSERT INTO legacy_pairs AS p (exchange, symbol_base, symbol_quote, in_tickers, in_trades)
        SELECT exchange, symbol_base, symbol_quote, bool_or(in_tickers), bool_or(in_trades)
        FROM found GROUP BY exchange, symbol_base, symbol_quote
        ON CONFLICT (exchange, symbol_base, symbol_quote) DO UPDATE SET
            in_tickers = p.in_tickers OR excluded.in_tickers,
            in_trades = p.in_trades OR excluded.in_trades
        RETURNING extracted_at = now() AS is_new
    )
    SELECT count(*) FILTER (WHERE is_new) INTO fresh FROM written;
    RETURN fresh;
END
$$;

SELECT refresh_legacy_pairs();
