DROP VIEW performance_trend;

DROP VIEW exchange_freshness;

DROP VIEW marketdata_index_use;

DROP VIEW marketdata_table_health;
