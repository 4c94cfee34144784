-- Balances, executions and analytics.

-- check: balances_total
-- title: Every balance's total is free plus locked
-- phase: 4
-- severity: error
-- expect: zero rows
SELECT id, exchange_id, asset, free, locked, total FROM account_balances
WHERE total IS DISTINCT FROM free + locked;

-- check: balance_audit_arithmetic
-- title: Every audited change adds up (newest 10,000)
-- phase: 4
-- severity: error
-- expect: zero rows
SELECT id, balance_id, free_before, free_change, free_after, locked_before, locked_change, locked_after
FROM (SELECT * FROM balance_changes ORDER BY id DESC LIMIT 10000) AS c
WHERE free_after <> free_before + free_change OR locked_after <> locked_before + locked_change;

-- check: balance_audit_chain
-- title: Each balance is what its last audited change left
-- phase: 4
-- severity: warning
-- expect: zero rows
SELECT b.id, b.asset, b.free, last.free_after, b.locked, last.locked_after
FROM account_balances b
CROSS JOIN LATERAL (
    SELECT c.free_after, c.locked_after FROM balance_changes c
    WHERE c.balance_id = b.id ORDER BY c.id DESC LIMIT 1
) AS last
WHERE (b.free, b.locked) <> (last.free_after, last.locked_after);

-- check: executions_filled
-- title: No order is filled beyond its quantity, and FILLED means filled
-- phase: 4
-- severity: error
-- expect: zero rows
SELECT id, order_id, quantity, filled_quantity, status
FROM (SELECT * FROM order_executions ORDER BY id DESC LIMIT 10000) AS o
WHERE filled_quantity > quantity OR (status = 'FILLED') <> (filled_quantity = quantity);

-- check: execution_history
-- title: Every order's last recorded status is its status (newest 10,000)
-- phase: 4
-- severity: error
-- expect: zero rows
SELECT o.id, o.order_id, o.status, last.new_status AS recorded
FROM (SELECT * FROM order_executions ORDER BY id DESC LIMIT 10000) AS o
LEFT JOIN LATERAL (
    SELECT h.new_status FROM order_status_history h WHERE h.execution_id = o.id ORDER BY h.id DESC LIMIT 1
) AS last ON true
WHERE last.new_status IS DISTINCT FROM o.status;

-- check: opportunities_sound
-- title: Opportunities span two exchanges or more and their spread adds up
-- phase: 4
-- severity: error
-- expect: zero rows
SELECT base_asset, quote_asset, exchanges, ask_price, bid_price, spread
FROM cross_exchange_opportunities
WHERE exchanges < 2 OR spread <> bid_price - ask_price;

-- check: opportunities_test_data
-- title: Best bid and ask are what a plain search over all latest tickers finds
-- phase: 4
-- severity: error
-- expect: zero rows
SELECT coalesce(f.base_asset, p.base_asset) AS base_asset, coalesce(f.quote_asset, p.quote_asset) AS quote_asset,
       f.ask_price AS view_ask, p.ask_price AS plain_ask, f.bid_price AS view_bid, p.bid_price AS plain_bid
FROM cross_exchange_opportunities f
FULL JOIN (
    SELECT base_asset, quote_asset, min(ask_price) AS ask_price, max(bid_price) AS bid_price
    FROM latest_book_ticker
    WHERE "timestamp" > now() - interval '100 years'
    GROUP BY base_asset, quote_asset HAVING count(*) > 1
) AS p ON p.base_asset = f.base_asset AND p.quote_asset = f.quote_asset
WHERE (f.ask_price, f.bid_price) IS DISTINCT FROM (p.ask_price, p.bid_price);

-- check: monitoring_answers
-- title: The monitoring views know the normalised tables
-- phase: 4
-- severity: error
-- expect: true
SELECT (SELECT count(*) FROM marketdata_table_health) = 8
   AND (SELECT count(*) FROM marketdata_index_use WHERE usable) >= 5
   AND (SELECT count(*) FROM exchange_freshness) = (SELECT count(*) FROM exchanges) AS answered;

-- check: reports_answer
-- title: The reports run over the last hour
-- phase: 4
-- severity: error
-- expect: value >= 0
SELECT (SELECT count(*) FROM trade_report(now() - interval '1 hour', now()))
     + (SELECT count(*) FROM portfolio_report)
     + (SELECT count(*) FROM execution_report(now() - interval '1 hour', now()));

-- check: freshness_report
-- title: The newest ticker of each exchange
-- phase: 4
-- severity: info
-- expect: report
SELECT exchange, symbols_with_data, newest, age FROM exchange_freshness ORDER BY exchange;

-- check: opportunities_report
-- title: The ten best spreads of the last minute
-- phase: 4
-- severity: info
-- expect: report
SELECT base_asset, quote_asset, buy_exchange, ask_price, sell_exchange, bid_price, spread_percent
FROM opportunities(interval '1 minute') LIMIT 10;

-- check: extension_objects_sound
-- title: Constraints, indexes and functions of the extensions are valid and there
-- phase: 4
-- severity: error
-- expect: zero rows
WITH tables AS (
    SELECT to_regclass(t) AS oid
    FROM unnest(ARRAY['account_balances', 'balance_changes', 'order_executions', 'order_status_history']) AS t
)
SELECT 'constraint' AS kind, conname::text AS name FROM pg_constraint
WHERE conrelid IN (SELECT oid FROM tables) AND NOT convalidated
UNION ALL
SELECT 'index', indexrelid::regclass::text FROM pg_index
WHERE indrelid IN (SELECT oid FROM tables) AND NOT (indisvalid AND indisready)
UNION ALL
SELECT 'function', f FROM unnest(ARRAY[
    'change_balance(text,text,text,numeric,numeric,text,text)', 'opportunities(interval)',
    'trade_report(timestamptz,timestamptz)', 'execution_report(timestamptz,timestamptz)']) AS f
WHERE to_regprocedure(f) IS NULL;
