DROP VIEW cross_exchange_opportunities;

DROP FUNCTION opportunities(interval);
