"""What the journal keeps of approvals and of the plans they name: tables, and the functions that alone write them.

``pgferry.approve`` runs with its owner's rights, so that a role with nothing but EXECUTE on it can record what it
approves: who that is, and when, the server says itself.
"""

from __future__ import annotations

from console.journal.events import APPEND_AS, CHANNEL

TABLES = """
CREATE TABLE IF NOT EXISTS pgferry.approval (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    plan_id text NOT NULL,
    plan_sha256 text NOT NULL,
    withdraws boolean NOT NULL,
    role name NOT NULL DEFAULT session_user,
    name text NOT NULL,
    comment text NOT NULL
);
CREATE INDEX IF NOT EXISTS approval_plan_idx ON pgferry.approval (plan_id);
DROP TRIGGER IF EXISTS append_only ON pgferry.approval;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pgferry.approval
    FOR EACH STATEMENT EXECUTE FUNCTION pgferry.append_only();
CREATE TABLE IF NOT EXISTS pgferry.plan_file (
    sha256 text PRIMARY KEY,
    content bytea NOT NULL
);
CREATE TABLE IF NOT EXISTS pgferry.plan_version (
    plan_sha256 text NOT NULL,
    path text NOT NULL,
    sha256 text NOT NULL,
    PRIMARY KEY (plan_sha256, path)
);
"""

_EVENT = APPEND_AS.format(
    run="of_run",
    actor="by_name",
    kind="'operator'",
    task="''",
    text="said",
    data="pg_catalog.jsonb_build_object('role', session_user, 'approval', of_id, 'sha256', of_sha256)",
)

FUNCTIONS = f"""
CREATE OR REPLACE FUNCTION pgferry.keep_plan(of_sha256 text, paths text[], digests text[], contents bytea[])
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF of_sha256 <> (
        SELECT encode(sha256(convert_to(E'pgferry plan digest 1\\n' || string_agg(
            octet_length(convert_to(path, 'UTF8')) || ':' || path || ' ' || digest || E'\\n', '' ORDER BY path COLLATE "C"
        ), 'UTF8')), 'hex') FROM unnest(paths, digests) AS f(path, digest)
    ) OR EXISTS (
        SELECT FROM unnest(digests, contents) AS f(digest, content) WHERE encode(sha256(content), 'hex') <> digest
    ) THEN
        RAISE EXCEPTION 'these files are not those of the plan %', of_sha256 USING ERRCODE = 'data_exception';
    END IF;
    INSERT INTO pgferry.plan_file (sha256, content)
    SELECT DISTINCT ON (digest) digest, content FROM unnest(digests, contents) AS f(digest, content)
    WHERE content IS NOT NULL ON CONFLICT DO NOTHING;
    INSERT INTO pgferry.plan_version (plan_sha256, path, sha256)
    SELECT of_sha256, path, digest FROM unnest(paths, digests) AS f(path, digest) ON CONFLICT DO NOTHING;
END $$;
CREATE OR REPLACE FUNCTION pgferry.approve(
    of_plan text, of_sha256 text, withdrawing boolean, by_name text, why text, paths text[], digests text[],
    contents bytea[]
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    of_id bigint;
    of_run bigint;
    said text;
BEGIN
    IF of_sha256 !~ '^[0-9a-f]{{64}}$' OR octet_length(by_name) NOT BETWEEN 1 AND 200 OR octet_length(why) > 10000 THEN
        RAISE EXCEPTION 'this is no approval' USING ERRCODE = 'data_exception';
    END IF;
    IF NOT withdrawing THEN
        PERFORM pgferry.keep_plan(of_sha256, paths, digests, contents);
    END IF;
    INSERT INTO pgferry.approval (plan_id, plan_sha256, withdraws, name, comment)
    VALUES (of_plan, of_sha256, withdrawing, by_name, why) RETURNING id INTO of_id;
    SELECT id INTO of_run FROM pgferry.run
    WHERE plan_id = of_plan AND plan_sha256 = of_sha256 AND status NOT IN ('done', 'rolled back') ORDER BY id DESC LIMIT 1;
    IF FOUND THEN
        said := CASE WHEN withdrawing THEN 'approval withdrawn' ELSE 'plan approved' END
            || coalesce(': ' || nullif(why, ''), '');
        {_EVENT};
    END IF;
    PERFORM pg_notify('{CHANNEL}', '');
    RETURN of_id;
END $$;
REVOKE ALL ON FUNCTION pgferry.keep_plan FROM PUBLIC;
REVOKE ALL ON FUNCTION pgferry.approve FROM PUBLIC;
"""
