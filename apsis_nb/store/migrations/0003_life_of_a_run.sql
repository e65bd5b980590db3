-- Version 3: what programs used, who paused what, and the messages that runs order.

-- What a run's program used, and what it says of itself: apart, so that rows of runs stay narrow.
CREATE TABLE base.run_meta (
    run_id BIGINT NOT NULL,
    cpu_s DOUBLE,
    max_rss_b BIGINT,
    read_b BIGINT,
    write_b BIGINT,
    detail VARCHAR,
    meta VARCHAR
);

-- Who paused what, and who let it go on: the last row of a scope and target holds.
CREATE TABLE base.pauses (
    ts TIMESTAMP NOT NULL,
    "by" VARCHAR,
    scope VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    paused BOOLEAN NOT NULL,
    until TIMESTAMP,
    reason VARCHAR
);

-- Messages and calls that runs ordered, saved before they are sent: the last row of a run and number holds.
CREATE TABLE base.notices (
    run_id BIGINT NOT NULL,
    n INTEGER NOT NULL,
    ts TIMESTAMP NOT NULL,
    event VARCHAR NOT NULL,
    action VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    tries INTEGER NOT NULL,
    message VARCHAR
);

CREATE VIEW run_meta AS
SELECT run_id, cpu_s, max_rss_b, read_b, write_b, detail, meta FROM base.run_meta;

CREATE VIEW pauses AS
SELECT ts, "by", scope, target, paused, until, reason FROM base.pauses;

CREATE VIEW notices AS
SELECT run_id, n, ts, event, state, tries, message, action FROM base.notices;

-- A run may be late with its end, too.
CREATE OR REPLACE VIEW live_runs AS
WITH ids AS (
    SELECT unnest(getvariable('live_ids')::BIGINT[]) AS run_id
), journal AS (
    SELECT l.run_id, l.ts, l.state, l.message, l.data, l.rowid AS n
    FROM base.run_log l SEMI JOIN ids USING (run_id)
    ANTI JOIN (SELECT r.run_id FROM base.runs r SEMI JOIN ids USING (run_id)) USING (run_id)
), latest AS (
    SELECT
        run_id,
        max(state) AS state,
        arg_max(message, n) AS message,
        arg_min(data, n) AS made,
        max(data->>'started_at') FILTER (state IN ('running', 'stopping')) AS started_at,
        max(data->>'late_why') AS late_why
    FROM journal GROUP BY run_id
), facts AS (
    SELECT
        run_id, state, message, late_why, made, started_at::TIMESTAMP AS started_at,
        (made->>'nominal_at')::TIMESTAMP AS nominal_at,
        (made->>'scheduled_at')::TIMESTAMP AS scheduled_at,
        (made->>'late_start_s')::DOUBLE AS late_start_s,
        (made->>'late_finish_at')::TIMESTAMP AS late_finish_at,
        CASE WHEN made->>'nominal_at' IS NULL THEN NULL ELSE greatest(0, epoch(
            coalesce(started_at::TIMESTAMP, utc_now()) - (made->>'scheduled_at')::TIMESTAMP)) END AS late_s
    FROM latest
)
SELECT
    run_id,
    made->>'job_id' AS job_id,
    made->>'args' AS args,
    (made->>'origin')::base.run_origin AS origin,
    coalesce((made->>'attempt')::SMALLINT, 1) AS attempt,
    (made->>'rerun_of')::BIGINT AS rerun_of,
    (made->>'backfill_id')::BIGINT AS backfill_id,
    state,
    NULL::VARCHAR AS skip_reason,
    coalesce(made->>'labels', '[]') AS labels,
    nominal_at,
    scheduled_at,
    started_at,
    NULL::TIMESTAMP AS finished_at,
    (made->>'stop_at')::TIMESTAMP AS stop_at,
    coalesce(late_s > late_start_s, false)
        OR coalesce(nominal_at IS NOT NULL AND utc_now() > late_finish_at, false) AS late,
    late_s,
    late_why,
    NULL::DOUBLE AS elapsed_s,
    NULL::INTEGER AS return_code,
    message,
    coalesce(made->>'host', 'local') AS host,
    made->>'by' AS "by",
    (made->>'program_id')::BIGINT AS program_id
FROM facts;
