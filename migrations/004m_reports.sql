-- Reports: volume of a period by symbol, portfolio by asset, and fills of a period by exchange.

CREATE FUNCTION trade_report(p_from timestamptz, p_to timestamptz)
RETURNS TABLE (
    exchange varchar, base_asset varchar, quote_asset varchar, trades bigint,
    bought numeric, sold numeric, turnover numeric, average_price numeric
)
LANGUAGE sql STABLE AS $$
    SELECT e.enum_value, s.base_asset, s.quote_asset, count(*),
           coalesce(sum(t.quantity) FILTER (WHERE t.side = 'buy'), 0),
           coalesce(sum(t.quantity) FILTER (WHERE t.side = 'sell'), 0),
           sum(t.price * t.quantity),
           round(sum(t.price * t.quantity) / sum(t.quantity), 8)
    FROM trade_snapshots_v2 t
    JOIN symbols s ON s.id = t.symbol_id
    JOIN exchanges e ON e.id = s.exchange_id
    WHERE t."timestamp" >= p_from AND t."timestamp" < p_to
    GROUP BY e.enum_value, s.base_asset, s.quote_asset
    ORDER BY sum(t.price * t.quantity) DESC
$$;

CREATE VIEW portfolio_report AS
SELECT
    b.asset,
    sum(b.free) AS free, sum(b.locked) AS locked, sum(b.total) AS total,
    count(DISTINCT b.exchange_id) AS exchanges,
    max(b.snapshot_time) AS newest
FROM account_balances b
WHERE b.total > 0
GROUP BY b.asset;

CREATE FUNCTION execution_report(p_from timestamptz, p_to timestamptz)
RETURNS TABLE (
    exchange varchar, orders bigint, filled bigint, canceled bigint, rejected bigint,
    fill_percent numeric, turnover numeric
)
LANGUAGE sql STABLE AS $$
    SELECT e.enum_value, count(*),
           count(*) FILTER (WHERE o.status = 'FILLED'),
           count(*) FILTER (WHERE o.status = 'CANCELED'),
           count(*) FILTER (WHERE o.status = 'REJECTED'),
           round(100 * sum(o.filled_quantity / o.quantity) / count(*), 2),
           coalesce(sum(o.filled_quantity * o.average_price), 0)
    FROM order_executions o
    JOIN symbols s ON s.id = o.symbol_id
    JOIN exchanges e ON e.id = s.exchange_id
    WHERE o.ordered_at >= p_from AND o.ordered_at < p_to
    GROUP BY e.enum_value
    ORDER BY e.enum_value
$$;
