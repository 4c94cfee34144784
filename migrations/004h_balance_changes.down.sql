DROP FUNCTION change_balance(text, text, text, numeric, numeric, text, text);

DROP TABLE balance_changes;
