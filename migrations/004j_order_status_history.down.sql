DROP TRIGGER order_executions_status ON order_executions;

DROP TRIGGER order_executions_first_status ON order_executions;

DROP FUNCTION record_order_status();

DROP TABLE order_status_history;
