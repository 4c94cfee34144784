-- The same pair on several exchanges: where to buy (lowest ask), where to sell (highest bid), and the spread.
-- From the latest ticker of every symbol, so cheap at any time; max_age keeps silent exchanges out.

CREATE FUNCTION opportunities(p_max_age interval DEFAULT interval '1 minute')
RETURNS TABLE (
    base_asset varchar, quote_asset varchar, exchanges bigint,
    buy_exchange varchar, ask_price numeric, ask_qty numeric,
    sell_exchange varchar, bid_price numeric, bid_qty numeric,
    spread numeric, spread_percent numeric, newest timestamptz, oldest timestamptz
)
LANGUAGE sql STABLE AS $$
    WITH fresh AS (
        SELECT * FROM latest_book_ticker l WHERE l."timestamp" > now() - p_max_age
    ), pairs AS (
        SELECT f.base_asset, f.quote_asset, count(*) AS exchanges,
               max(f."timestamp") AS newest, min(f."timestamp") AS oldest
        FROM fresh f GROUP BY f.base_asset, f.quote_asset HAVING count(*) > 1
    ), buy AS (
        SELECT DISTINCT ON (f.base_asset, f.quote_asset) f.* FROM fresh f
        ORDER BY f.base_asset, f.quote_asset, f.ask_price, f.symbol_id
    ), sell AS (
        SELECT DISTINCT ON (f.base_asset, f.quote_asset) f.* FROM fresh f
        ORDER BY f.base_asset, f.quote_asset, f.bid_price DESC, f.symbol_id
    )
    SELECT p.base_asset, p.quote_asset, p.exchanges,
           buy.exchange, buy.ask_price, buy.ask_qty, sell.exchange, sell.bid_price, sell.bid_qty,
           sell.bid_price - buy.ask_price,
           round(100 * (sell.bid_price - buy.ask_price) / buy.ask_price, 4),
           p.newest, p.oldest
    FROM pairs p
    JOIN buy USING (base_asset, quote_asset)
    JOIN sell USING (base_asset, quote_asset)
    ORDER BY round(100 * (sell.bid_price - buy.ask_price) / buy.ask_price, 4) DESC, p.base_asset, p.quote_asset
$$;

-- Every pair that two or more exchanges quote, the best spread first; negative where there is nothing to earn.
CREATE VIEW cross_exchange_opportunities AS
SELECT * FROM opportunities(interval '100 years');
