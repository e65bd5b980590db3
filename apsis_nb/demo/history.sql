-- Made-up past runs, in named blocks: `-- name --`, why, SQL. Everything hangs on a hash of the job, the run and the
-- seed: the same seed gives the same history.

-- draw --
-- A number of [0, 1) for a run (job n, k-th occurrence) and a purpose.
CREATE OR REPLACE TEMP MACRO draw(n, k, purpose, seed) AS (
    (hash(n, k, purpose, seed) >> 11)::DOUBLE / 9007199254740992.0
);

-- jobs --
-- What is known of each job; the lists come from Python.
CREATE OR REPLACE TEMP TABLE made_jobs AS
SELECT
    unnest($n::INTEGER[]) AS n, unnest($job_id::VARCHAR[]) AS job_id, unnest($program_id::BIGINT[]) AS program_id,
    unnest($period_s::DOUBLE[]) AS period_s, unnest($median_s::DOUBLE[]) AS median_s,
    unnest($spread::DOUBLE[]) AS spread, unnest($failing::DOUBLE[]) AS failing,
    unnest($is_daytime::BOOLEAN[]) AS is_daytime, unnest($params::VARCHAR[]) AS params,
    unnest($labels::VARCHAR[]) AS labels, unnest($slower::DOUBLE[]) AS slower,
    unnest($cpu_share::DOUBLE[]) AS cpu_share, unnest($memory_mb::DOUBLE[]) AS memory_mb;

-- occurrences --
-- When each job was due: every period, in office hours or all day; the newest $count of them, oldest first.
CREATE OR REPLACE TEMP TABLE made_due AS
WITH started AS (
    -- daily ones begin in the night, or at nine; those of an hour or more at some quarter of it
    SELECT *, date_trunc('day', $until::TIMESTAMP) + to_seconds(CASE WHEN period_s < 3600 THEN 0 ELSE
        3600 * CASE WHEN is_daytime THEN 9 ELSE 1 + floor(4 * draw(n, 0, 'hour', $seed)) END
        + 900 * floor(4 * draw(n, 0, 'quarter', $seed)) END) + INTERVAL 1 DAY AS last_at
    FROM made_jobs
), due AS (
    SELECT s.n, t.k, s.last_at - to_seconds(t.k * s.period_s) AS nominal_at, s.is_daytime
    FROM started s, unnest(range(0, (($days + 2) * 86400 / s.period_s)::BIGINT)) AS t(k)
)
SELECT n, k, nominal_at, row_number() OVER (ORDER BY nominal_at, n, k) - 1 AS i
FROM (
    SELECT * FROM due
    WHERE nominal_at < $until AND nominal_at >= $until::TIMESTAMP - to_days($days)
        AND (NOT is_daytime OR (hour(nominal_at) BETWEEN 8 AND 17 AND isodow(nominal_at) <= 5))
    ORDER BY nominal_at DESC, n, k LIMIT $count
);

-- occurrence_count --
-- Whether there are as many as wanted.
SELECT count(*) FROM made_due;

-- lives --
-- What became of the runs [$first, $stop) of the list: durations are lognormal, three of a hundred fail.
CREATE OR REPLACE TEMP TABLE made_lives AS
WITH drawn AS (
    SELECT
        d.i, d.n, d.k, d.nominal_at, j.job_id, j.program_id, j.spread, j.failing, j.labels, j.params, j.cpu_share,
        j.memory_mb, j.median_s * (1 + j.slower) ** (epoch(d.nominal_at - $until::TIMESTAMP) / 2419200) AS median_s,
        draw(d.n, d.k, 'use', $seed) AS u_use,
        draw(d.n, d.k, 'late', $seed) AS u_late,
        -ln(1 - draw(d.n, d.k, 'wait', $seed)) AS wait,
        sqrt(-2 * ln(1 - draw(d.n, d.k, 'radius', $seed))) * cos(2 * pi() * draw(d.n, d.k, 'angle', $seed)) AS normal,
        draw(d.n, d.k, 'end', $seed) AS u_end,
        draw(d.n, d.k, 'skip', $seed) AS u_skip,
        -- one night in a month the server is down from 03:00 to 03:40 and then catches up
        hash(d.nominal_at::DATE, $seed) % 30 = 0
            AND hour(d.nominal_at) = 3 AND minute(d.nominal_at) < 40 AS is_down
    FROM made_due d JOIN made_jobs j USING (n)
    WHERE d.i >= $first AND d.i < $stop
), delayed AS (
    SELECT *,
        u_skip < CASE WHEN is_down THEN 0.3 ELSE 0.004 END AS is_skipped,
        CASE
            WHEN is_down THEN 'server'
            WHEN u_late < 0.008 THEN 'condition' WHEN u_late < 0.013 THEN 'limit' WHEN u_late < 0.015 THEN 'host'
        END AS late_why,
        CASE
            WHEN is_down THEN epoch(date_trunc('hour', nominal_at) + INTERVAL 40 MINUTE - nominal_at) + 2 * wait
            WHEN u_late < 0.015 THEN 61 + 400 * wait
            ELSE 0.004 + 0.01 * wait
        END AS late_s,
        round(least(median_s * exp(spread * normal), 43200), 6) AS elapsed_s,
        CASE
            WHEN u_end < failing * 0.93 THEN 'failure' WHEN u_end < failing THEN 'error' ELSE 'success'
        END AS ending
    FROM drawn
), ended AS (
    SELECT *,
        CASE WHEN is_skipped THEN 'skipped' ELSE ending END AS state,
        nominal_at + to_microseconds((late_s * 1e6)::BIGINT) AS began_at
    FROM delayed
), whole AS (
    SELECT *,
        CASE
            WHEN params = 'date' THEN '{"date":"' || strftime(nominal_at, '%Y-%m-%d') || '"}'
            WHEN params = 'yesterday' THEN
                '{"date":"' || strftime(nominal_at - INTERVAL 1 DAY, '%Y-%m-%d') || '"}'
            WHEN params = 'rate' THEN
                '{"rate":"' || ['0.1', '0.03', '0.01'][1 + k % 3] || '","rounds":"20"}'
            WHEN params = 'what' THEN
                '{"what":"' || ['reports', 'archive'][1 + k % 2] || '","older_than":"30d","dry_run":"false"}'
            WHEN params = 'region' THEN '{"date":"' || strftime(nominal_at, '%Y-%m-%d') || '","region":"'
                || ['emea', 'apac', 'amer', 'latam'][1 + k % 4] || '"}'
            ELSE '{}'
        END AS args,
        CASE WHEN state IN ('success', 'failure') THEN began_at END AS started_at,
        CASE
            WHEN state IN ('success', 'failure') THEN began_at + to_microseconds((elapsed_s * 1e6)::BIGINT)
            ELSE began_at
        END AS finished_at,
        CASE WHEN state = 'success' THEN 0 WHEN state = 'failure' THEN
            CASE WHEN u_end < failing * 0.8 THEN 1 WHEN u_end < failing * 0.9 THEN 2 ELSE -9 END
        END AS return_code
    FROM ended
)
SELECT
    $first_id::BIGINT + i - $first AS run_id, job_id, program_id, args, state::base.run_state AS state, labels,
    CASE WHEN is_skipped THEN CASE WHEN is_down THEN 'server down' ELSE 'busy' END END AS skip_reason,
    nominal_at, began_at, started_at,
    -- nothing of the past ends in the future
    least(finished_at, $until::TIMESTAMP) AS finished_at,
    CASE WHEN NOT is_skipped THEN greatest(0, epoch(least(began_at, $until::TIMESTAMP) - nominal_at)) END AS late_s,
    late_why, return_code,
    CASE WHEN started_at IS NOT NULL THEN elapsed_s END AS elapsed_s,
    -- what of the processor time is not the same from run to run, nor is the size
    round(elapsed_s * cpu_share * (0.8 + 0.4 * u_use), 3) AS cpu_s,
    (memory_mb * (0.9 + 0.2 * u_use) * 1e6)::BIGINT AS max_rss_b,
    CASE
        WHEN state = 'failure' AND return_code < 0 THEN 'killed by SIGKILL'
        WHEN state = 'failure' THEN 'exit code ' || return_code
        WHEN state = 'error' THEN 'cannot start: No such file or directory'
    END AS message
FROM whole;

-- failed --
-- The newest run of a job failed, and says why.
UPDATE made_lives SET
    state = 'failure', skip_reason = NULL, started_at = began_at, return_code = 1, elapsed_s = 0.8,
    finished_at = least(began_at + INTERVAL 800 MILLISECONDS, $until::TIMESTAMP),
    message = replace($message, '{date}', args::JSON->>'date')
WHERE run_id = (SELECT max_by(run_id, nominal_at) FROM made_lives WHERE job_id = $job_id);

-- runs --
-- As the store writes a finished run, in the order in which they finished.
INSERT INTO base.runs (
    run_id, job_id, args, origin, attempt, state, skip_reason, labels, nominal_at, scheduled_at, started_at,
    finished_at, late, late_s, late_why, elapsed_s, return_code, message, host, program_id
)
SELECT
    run_id, job_id, args, 'schedule', 1, state, skip_reason, labels, nominal_at, nominal_at, started_at, finished_at,
    coalesce(late_s > 60, false), late_s, CASE WHEN late_s > 60 THEN late_why END, elapsed_s, return_code, message,
    'local', program_id
FROM made_lives ORDER BY finished_at, run_id;

-- log --
-- As the store writes the moves: made, starting, running, ended.
INSERT INTO base.run_log
WITH moves AS (
    SELECT run_id, nominal_at AS ts, 'scheduled'::base.run_state AS state, 'made by the schedule' AS message,
        json_object('job_id', job_id, 'args', args, 'origin', 'schedule', 'scheduled_at', strftime(nominal_at,
            '%Y-%m-%dT%H:%M:%S'), 'nominal_at', strftime(nominal_at, '%Y-%m-%dT%H:%M:%S'), 'labels', labels, 'late_start_s', 60.0,
            'program_id', program_id)::VARCHAR AS data
    FROM made_lives
    UNION ALL
    SELECT run_id, least(began_at, finished_at), 'starting'::base.run_state, NULL, NULL FROM made_lives WHERE started_at IS NOT NULL
    UNION ALL
    SELECT run_id, least(started_at, finished_at), 'running'::base.run_state, NULL, NULL
    FROM made_lives WHERE started_at IS NOT NULL
    UNION ALL
    SELECT run_id, finished_at, state, message, NULL FROM made_lives
)
SELECT run_id, ts, state, message, data FROM moves ORDER BY ts, run_id, state;

-- meta --
-- What the programs used.
INSERT INTO base.run_meta (run_id, cpu_s, max_rss_b)
SELECT run_id, cpu_s, max_rss_b FROM made_lives WHERE started_at IS NOT NULL ORDER BY finished_at, run_id;

-- clean --
-- Nothing is left on the connection.
DROP TABLE made_lives; DROP TABLE made_due; DROP TABLE made_jobs; DROP MACRO draw;
