-- Version 6 of the run store. Base tables are in the schema `base` and may change with a version; the views in
-- `main` are stable and documented: each line `-- view.column: meaning` below is a comment in the database too.
--
-- Rows are only ever appended: an open reader would make a CHECKPOINT fail after an UPDATE, not after an INSERT.
-- No primary key and no index: ids ascend with the row groups, so zone maps find a run as quickly, and every
-- commit is cheaper. Times are TIMESTAMP in UTC: TIMESTAMPTZ goes through ICU, six to nine times slower.

CREATE SCHEMA base;

-- The order is that of a life, so the greatest state in the log of a live run is the one that it is in.
CREATE TYPE base.run_state AS ENUM (
    'scheduled', 'waiting', 'starting', 'running', 'stopping', 'success', 'failure', 'error', 'skipped'
);
CREATE TYPE base.run_origin AS ENUM (
    'schedule', 'manual', 'ad_hoc', 'action', 'retry', 'rerun', 'backfill', 'test'
);

-- Which file this is: the last row holds.
CREATE TABLE base.meta (schema_version INTEGER NOT NULL, epoch VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL);

-- Run ids below the greatest `next_id` are taken.
CREATE TABLE base.ids (next_id BIGINT NOT NULL);

-- All that was due up to the greatest `clock_at` has been made into runs. Pruned when the file is opened.
CREATE TABLE base.clock (clock_at TIMESTAMP NOT NULL);

-- Runs with ids below the greatest were finished when it was written, so a restart need not look at them.
CREATE TABLE base.floor (run_id BIGINT NOT NULL);

-- The programs that runs execute, each text once (or a few times: once more after a restart).
CREATE TABLE base.programs (program_id BIGINT NOT NULL, program VARCHAR NOT NULL);

-- The journal: every move of every run. `data` (JSON) is what a live run is rebuilt from: in its first row all that
-- it was made from, later only what changed.
CREATE TABLE base.run_log (
    run_id BIGINT NOT NULL,
    ts TIMESTAMP NOT NULL,
    state base.run_state NOT NULL,
    message VARCHAR,
    data VARCHAR
);

-- One row a finished run, in the same transaction as its last row of the journal.
CREATE TABLE base.runs (
    run_id BIGINT NOT NULL,
    job_id VARCHAR NOT NULL,
    args VARCHAR NOT NULL,
    origin base.run_origin NOT NULL,
    attempt SMALLINT NOT NULL,
    rerun_of BIGINT,
    backfill_id BIGINT,
    state base.run_state NOT NULL,
    skip_reason VARCHAR,
    labels VARCHAR NOT NULL,
    nominal_at TIMESTAMP,
    scheduled_at TIMESTAMP NOT NULL,
    started_at TIMESTAMP,
    finished_at TIMESTAMP NOT NULL,
    stop_at TIMESTAMP,
    late BOOLEAN NOT NULL,
    late_s DOUBLE,
    late_why VARCHAR,
    elapsed_s DOUBLE,
    return_code INTEGER,
    message VARCHAR,
    host VARCHAR NOT NULL,
    "by" VARCHAR,
    program_id BIGINT NOT NULL
);

-- Where the outputs of finished runs lie: a piece of a pack file beside the database.
CREATE TABLE base.outputs (
    run_id BIGINT NOT NULL,
    name VARCHAR NOT NULL,
    content_type VARCHAR NOT NULL,
    length BIGINT NOT NULL,
    pack VARCHAR NOT NULL,
    pack_offset BIGINT NOT NULL,
    stored BIGINT NOT NULL
);

-- The runs whose outputs were given up, when and why: the pieces of the pack files that they had are free.
CREATE TABLE base.dropped (
    run_id BIGINT NOT NULL,
    ts TIMESTAMP NOT NULL,
    reason VARCHAR NOT NULL
);

-- The texts of job files, each as it was when the server took it up; NULL when the file was gone.
CREATE TABLE base.job_versions (
    ts TIMESTAMP NOT NULL,
    "by" VARCHAR,
    job_id VARCHAR NOT NULL,
    version INTEGER NOT NULL,
    yaml VARCHAR
);

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

-- What a run was called where it came from, and, if it had come there from elsewhere, what it was called there.
CREATE TABLE base.imported (
    run_id BIGINT NOT NULL,
    source VARCHAR NOT NULL,
    source_run BIGINT NOT NULL,
    ts TIMESTAMP NOT NULL
);

-- The folders of the archive whose runs are no longer here. Only what this names is read of the archive, so each run
-- is in one place at each moment. Between `first_at` and `last_at` is all that happened with its runs.
CREATE TABLE base.archived (
    folder VARCHAR NOT NULL,
    ts TIMESTAMP NOT NULL,
    runs BIGINT NOT NULL,
    first_id BIGINT NOT NULL,
    last_id BIGINT NOT NULL,
    first_at TIMESTAMP NOT NULL,
    last_at TIMESTAMP NOT NULL,
    bytes BIGINT NOT NULL
);

-- The present as a plain TIMESTAMP. With now() DuckDB would cast the whole column that it is compared with.
CREATE MACRO utc_now() AS (now() AT TIME ZONE 'UTC');

-- The ids of the live runs are a variable of the connection, set before each query: so neither the journal nor the
-- finished runs are searched for them. A run may finish between that and the query: it counts as finished then.
CREATE VIEW live_runs AS
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
        CASE WHEN made->>'origin' <> 'schedule' THEN NULL ELSE greatest(0, epoch(
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
        OR coalesce(utc_now() > late_finish_at, false) AS late,
    late_s,
    late_why,
    NULL::DOUBLE AS elapsed_s,
    NULL::INTEGER AS return_code,
    message,
    coalesce(made->>'host', 'local') AS host,
    made->>'by' AS "by",
    (made->>'program_id')::BIGINT AS program_id
FROM facts;

CREATE VIEW runs AS
SELECT * FROM base.runs
UNION ALL
SELECT * FROM live_runs;

CREATE VIEW run_log AS
SELECT run_id, ts, state, message FROM base.run_log;

CREATE VIEW outputs AS
SELECT o.run_id, o.name, o.content_type, o.length, d.ts AS dropped_at
FROM base.outputs o LEFT JOIN base.dropped d USING (run_id);

CREATE VIEW run_meta AS
SELECT run_id, cpu_s, max_rss_b, read_b, write_b, detail, meta FROM base.run_meta;

CREATE VIEW pauses AS
SELECT ts, "by", scope, target, paused, until, reason FROM base.pauses;

CREATE VIEW notices AS
SELECT run_id, n, ts, event, state, tries, message, action FROM base.notices;

CREATE VIEW imported AS
SELECT run_id, source, 'r' || source_run AS source_run, ts FROM base.imported;

CREATE VIEW programs AS
SELECT program_id, program FROM base.programs;

-- These four name no files, so that the database can be copied, moved and read by itself. Where there is an archive,
-- each cursor for SQL has a temporary view of the same name before them, which reads its files too.
CREATE VIEW runs_all AS
SELECT * FROM runs;

CREATE VIEW run_log_all AS
SELECT * FROM run_log;

CREATE VIEW run_meta_all AS
SELECT * FROM run_meta;

CREATE VIEW outputs_all AS
SELECT * FROM outputs;

CREATE VIEW missed AS
SELECT run_id, job_id, args, nominal_at, finished_at AS skipped_at, skip_reason
FROM base.runs
WHERE state = 'skipped' AND origin = 'schedule'
    AND skip_reason IS DISTINCT FROM 'observed: it would have started now';

CREATE VIEW lateness_daily AS
SELECT
    job_id,
    date_trunc('day', scheduled_at) AS day,
    count(*) AS runs,
    count(*) FILTER (late) AS late,
    quantile_cont(late_s, 0.5) AS p50_s,
    quantile_cont(late_s, 0.95) AS p95_s,
    max(late_s) AS max_s
FROM base.runs
WHERE late_s IS NOT NULL
GROUP BY ALL;

CREATE VIEW job_versions AS
SELECT job_id, version, ts, "by", yaml FROM base.job_versions;

CREATE VIEW jobs AS
SELECT job_id, version, ts AS changed_at, "by" AS changed_by, yaml
FROM base.job_versions
QUALIFY row_number() OVER (PARTITION BY job_id ORDER BY version DESC) = 1 AND yaml IS NOT NULL;

-- runs: Every run, finished or live, but those in the archive. Test runs too: origin <> 'test' leaves them out.
-- runs.run_id: The run, a whole number; r123 outside of SQL.
-- runs.job_id: Its job.
-- runs.args: Its args, JSON: an object of strings, keys sorted, no blanks.
-- runs.origin: What made it: schedule, manual, ad_hoc, action, retry, rerun, backfill or test.
-- runs.attempt: 1, or more for a retry.
-- runs.rerun_of: The run that it repeats.
-- runs.backfill_id: The backfill that it belongs to.
-- runs.state: Where it is in its life; success, failure, error and skipped are its ends.
-- runs.skip_reason: Why it was not run.
-- runs.labels: Its labels, JSON: a list of strings.
-- runs.nominal_at: When the schedule says, UTC; also of what is run for it later. NULL if none stands behind it.
-- runs.scheduled_at: When it was due, UTC: nominal plus jitter.
-- runs.started_at: When its program started, UTC.
-- runs.finished_at: When it finished, UTC; NULL while it is live.
-- runs.stop_at: When it is stopped if it still runs, UTC.
-- runs.late: Whether it started, or still waits, beyond its start budget, or did not finish when it should have.
-- runs.late_s: Seconds from scheduled to started (to now, while it waits); NULL unless a schedule made it.
-- runs.late_why: Of a late run: condition, limit, host or server.
-- runs.elapsed_s: Seconds that its program took, by a monotonic clock; NULL until it ends.
-- runs.return_code: Exit status; -N if signal N ended it.
-- runs.message: Of its last transition.
-- runs.host: Where it ran.
-- runs.by: Who asked for it.
-- runs.program_id: Its program, in the view programs.
-- live_runs: The runs that have not finished: the columns of runs. Needs the server; empty in a file read alone.
-- run_log: Every move of every run, and what was noted in between, in the order in which it was saved.
-- run_log.run_id: The run.
-- run_log.ts: When, UTC.
-- run_log.state: The state that the run was in then.
-- run_log.message: What happened.
-- runs_all: All runs, those in the archive too: the columns of runs.
-- run_log_all: The logs of all runs, those in the archive too: the columns of run_log.
-- run_meta_all: What the programs of all runs used, those in the archive too: the columns of run_meta.
-- outputs_all: The outputs of all runs, those in the archive too: the columns of outputs.
-- outputs: The outputs of finished runs.
-- outputs.run_id: The run.
-- outputs.name: The output: output, or as the job names it.
-- outputs.content_type: Its media type.
-- outputs.length: Its size in bytes.
-- outputs.dropped_at: When it was given up, UTC; NULL while it is kept.
-- imported: The runs that came from elsewhere; one that has come a long way has a row for each place.
-- imported.run_id: The run.
-- imported.source: The file that it was in.
-- imported.source_run: What it was called there: r123.
-- imported.ts: When it was imported from there, UTC.
-- programs: What runs executed: the form of the job file as JSON, templates expanded.
-- programs.program_id: As in runs.program_id.
-- programs.program: The program, JSON.
-- run_meta: What the programs of finished runs used, and what they said of themselves.
-- run_meta.run_id: The run.
-- run_meta.cpu_s: Processor time of the program and the children that it waited for, seconds.
-- run_meta.max_rss_b: The most memory that the largest of these had, bytes.
-- run_meta.read_b: Bytes that they read from disks; NULL where the system does not tell.
-- run_meta.write_b: Bytes that they wrote to disks; NULL where the system does not tell.
-- run_meta.detail: How it ended in detail, JSON.
-- run_meta.meta: What the program wrote to $APSIS_META_FILE, JSON.
-- pauses: Every pause and every end of one, in the order in which they came.
-- pauses.ts: When, UTC.
-- pauses.by: Who.
-- pauses.scope: Of what: job, path or all.
-- pauses.target: The job, or the path; empty for all.
-- pauses.paused: Whether it was paused; false: it goes on.
-- pauses.until: When the pause ends by itself, UTC.
-- pauses.reason: Why.
-- notices: What runs had sent to people and other systems; a row for each step of each.
-- notices.run_id: The run.
-- notices.n: Counted from 1 for each run.
-- notices.ts: When, UTC.
-- notices.event: What it tells: a state, late, missed or recovered.
-- notices.state: pending, sent, failed or given up.
-- notices.tries: How often it was tried.
-- notices.message: What it tells; of a try that failed, what went wrong.
-- notices.action: The action, JSON, without secrets.
-- missed: Occurrences of schedules that no run executed, but what a server only observed; without those in the archive.
-- missed.run_id: The skipped run that stands for it.
-- missed.job_id: The job.
-- missed.args: The args, JSON.
-- missed.nominal_at: When the schedule said, UTC.
-- missed.skipped_at: When it was given up, UTC.
-- missed.skip_reason: Why.
-- lateness_daily: How late the runs of schedules started, by job and day (UTC); without those in the archive.
-- lateness_daily.job_id: The job.
-- lateness_daily.day: The day, its start in UTC.
-- lateness_daily.runs: How many finished runs, without the skipped ones.
-- lateness_daily.late: How many of them late, with their start or their end.
-- lateness_daily.p50_s: Median of the lateness, seconds.
-- lateness_daily.p95_s: 95th percentile of the lateness, seconds.
-- lateness_daily.max_s: The most, seconds.
-- job_versions: The texts that job files have had, each as it was when the server took it up.
-- job_versions.job_id: The job.
-- job_versions.version: Counted from 1 for each job.
-- job_versions.ts: When the server took it up, UTC.
-- job_versions.by: Who wrote it through the server; NULL for an edit of the file.
-- job_versions.yaml: The text of the file; NULL: the file was removed.
-- jobs: The jobs whose files the server has taken up, as they are now.
-- jobs.job_id: The job.
-- jobs.version: That of its file, as in job_versions.
-- jobs.changed_at: When this text was taken up, UTC.
-- jobs.changed_by: Who wrote it through the server; NULL for an edit of the file.
-- jobs.yaml: The text of its file.
