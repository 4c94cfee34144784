-- How the server does while both application versions run. Catalogue and activity views only.

-- check: operations_objects_sound
-- title: The functions for scripts are there
-- phase: 3
-- severity: error
-- expect: zero rows
SELECT f AS missing FROM unnest(ARRAY[
    'known_symbol(text,text,text)',
    'upsert_ticker(text,text,text,timestamptz,numeric,numeric,numeric,numeric,bigint,text)',
    'insert_trade(text,text,text,timestamptz,numeric,numeric,text,text)']) AS f
WHERE to_regprocedure(f) IS NULL;

-- check: no_blocked_sessions
-- title: Nobody has waited for a lock for more than a second
-- phase: 3
-- severity: warning
-- expect: zero rows
SELECT pid, application_name, round(extract(epoch FROM clock_timestamp() - query_start)::numeric, 1) AS seconds,
       pg_blocking_pids(pid) AS blocked_by
FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND wait_event_type = 'Lock'
  AND clock_timestamp() - query_start > interval '1 second';

-- check: no_old_transactions
-- title: No transaction has been open for more than ten minutes
-- phase: 3
-- severity: warning
-- expect: zero rows
SELECT pid, application_name, state, now() - xact_start AS age
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND now() - xact_start > interval '10 minutes';

-- check: deadlocks
-- title: Deadlocks in this database since its statistics began
-- phase: 3
-- severity: info
-- expect: report
SELECT deadlocks, conflicts, xact_rollback AS rollbacks, stats_reset FROM pg_stat_database
WHERE datname = current_database();
