DROP TABLE order_executions;
