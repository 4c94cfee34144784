DROP FUNCTION execution_report(timestamptz, timestamptz);

DROP VIEW portfolio_report;

DROP FUNCTION trade_report(timestamptz, timestamptz);
