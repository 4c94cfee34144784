-- Fixed inputs with their expected answers: what the mapping and the number columns must make of them.

-- check: mapping_test_data
-- title: Doubtful exchange names find all their candidates, unknown ones find none
-- phase: 1
-- severity: error
-- expect: zero rows
SELECT given, expected, exchange_candidates(given) AS found
FROM (VALUES
    ('GATEIO', ARRAY['GATEIO_SPOT', 'GATEIO_FUTURES']),
    ('gate.io', ARRAY['GATEIO_SPOT', 'GATEIO_FUTURES']),
    ('Gate', ARRAY['GATEIO_SPOT', 'GATEIO_FUTURES']),
    ('MEXC', ARRAY['MEXC_SPOT']),
    ('mexc-spot', ARRAY['MEXC_SPOT']),
    ('NO SUCH VENUE', ARRAY[]::text[]),
    ('  ', ARRAY[]::text[])
) AS t (given, expected)
WHERE NOT exchange_candidates(given) @> expected
   OR (cardinality(expected) = 0 AND cardinality(exchange_candidates(given)) > 0);

-- check: numbers_test_data
-- title: Prices and quantities keep their eight decimals
-- phase: 1
-- severity: error
-- expect: zero rows
SELECT given, given::numeric(20, 8) AS stored
FROM (VALUES
    ('0.00000001'), ('0.00000352'), ('0.00003528'), ('1400000000.00000000'), ('112800.50000000'),
    ('999999999999.99999999')
) AS t (given)
WHERE given::numeric(20, 8)::text <> given;

-- check: spelling_test_data
-- title: Symbols are spelt as their exchange spells them
-- phase: 1
-- severity: error
-- expect: zero rows
SELECT exchange, base, quote, expected, symbol_spelling(exchange, base, quote) AS found
FROM (VALUES
    ('MEXC_SPOT', 'BTC', 'USDT', 'BTCUSDT'),
    ('GATEIO_SPOT', 'BTC', 'USDT', 'BTC_USDT'),
    ('GATEIO_FUTURES', '1INCH', 'USDT', '1INCH_USDT')
) AS t (exchange, base, quote, expected)
WHERE symbol_spelling(exchange, base, quote) <> expected;
