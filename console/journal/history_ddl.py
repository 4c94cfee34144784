"""What the journal keeps of its own changes, so that a run can be replayed: a trigger notes them, no writer needs to.

Live facts change several times a second; one every two seconds is kept, and always the last word on something.
"""

from __future__ import annotations

TABLES = """
CREATE TABLE IF NOT EXISTS pgferry.history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES pgferry.run ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL,
    name text NOT NULL,
    payload jsonb
);
CREATE INDEX IF NOT EXISTS history_newest_idx ON pgferry.history (run_id, kind, name, id);
"""

# The owner's rights: whoever may write a row of the journal may have it remembered.
FUNCTIONS = """
CREATE OR REPLACE FUNCTION pgferry.keep_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    of_run bigint;
    of_name text;
    now_is jsonb;
    before record;
BEGIN
    CASE TG_TABLE_NAME
    WHEN 'run' THEN
        of_run := NEW.id;
        of_name := '';
        now_is := jsonb_build_object('status', NEW.status, 'until', NEW.until, 'back_to', NEW.back_to, 'operator', NEW.operator,
            'started_at', NEW.started_at, 'finished_at', NEW.finished_at, 'error', NEW.error);
    WHEN 'task' THEN
        of_run := NEW.run_id;
        of_name := NEW.task_id;
        now_is := jsonb_build_object('status', NEW.status, 'started_at', NEW.started_at,
            'finished_at', NEW.finished_at, 'worked', extract(epoch FROM NEW.worked), 'operator', NEW.operator,
            'blocked_on', NEW.blocked_on, 'note', NEW.note, 'error', NEW.error, 'attempts', NEW.attempts);
    WHEN 'live' THEN
        of_run := coalesce(NEW.run_id, OLD.run_id);
        of_name := coalesce(NEW.name, OLD.name);
        now_is := NEW.payload;
    ELSE
        of_run := (SELECT max(id) FROM pgferry.run);
        of_name := coalesce(NEW.mapping, OLD.mapping);
        now_is := to_jsonb(NEW.leads);
    END CASE;
    IF of_run IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT h.at, h.payload INTO before FROM pgferry.history h
    WHERE h.run_id = of_run AND h.kind = TG_TABLE_NAME AND h.name = of_name ORDER BY h.id DESC LIMIT 1;
    IF FOUND AND (before.payload IS NOT DISTINCT FROM now_is
        OR before.at > clock_timestamp() - interval '2 s' AND (
            TG_TABLE_NAME = 'live' AND now_is IS NOT NULL AND now_is <> '[]'
                AND NOT coalesce((now_is ->> 'finished')::boolean, false)
            OR TG_TABLE_NAME = 'task' AND now_is - 'note' - 'worked' = before.payload - 'note' - 'worked'))
    THEN
        RETURN NULL;
    END IF;
    INSERT INTO pgferry.history (run_id, kind, name, payload) VALUES (of_run, TG_TABLE_NAME, of_name, now_is);
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION pgferry.keep_history FROM PUBLIC;
DROP TRIGGER IF EXISTS keep_history ON pgferry.run;
CREATE TRIGGER keep_history AFTER INSERT OR UPDATE OF status, until, back_to, operator, started_at, finished_at, error
    ON pgferry.run FOR EACH ROW EXECUTE FUNCTION pgferry.keep_history();
DROP TRIGGER IF EXISTS keep_history ON pgferry.task;
CREATE TRIGGER keep_history AFTER UPDATE ON pgferry.task FOR EACH ROW EXECUTE FUNCTION pgferry.keep_history();
DROP TRIGGER IF EXISTS keep_history ON pgferry.live;
CREATE TRIGGER keep_history AFTER INSERT OR UPDATE OR DELETE ON pgferry.live
    FOR EACH ROW EXECUTE FUNCTION pgferry.keep_history();
DROP TRIGGER IF EXISTS keep_history ON pgferry.lead;
CREATE TRIGGER keep_history AFTER INSERT OR UPDATE OR DELETE ON pgferry.lead
    FOR EACH ROW EXECUTE FUNCTION pgferry.keep_history();
"""
