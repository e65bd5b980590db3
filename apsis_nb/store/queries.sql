-- Every query that the store asks, in named blocks: `-- name --`, why, SQL. A test runs each.

-- live_journal --
-- The journal of the runs that had not finished, to rebuild them; nothing below $floor can be one of them.
SELECT l.run_id, l.ts, l.state, l.message, l.data
FROM base.run_log l
ANTI JOIN (SELECT run_id FROM base.runs WHERE run_id >= $floor) f USING (run_id)
WHERE l.run_id >= $floor
ORDER BY l.run_id, l.rowid;

-- programs_by_id --
-- The programs of live runs.
SELECT program_id, program FROM base.programs WHERE program_id IN (SELECT unnest($ids::BIGINT[]));

-- program --
-- The program of one run.
SELECT program FROM base.programs WHERE program_id = $program_id LIMIT 1;

-- first_row --
-- What a run was made from. The first row of its journal has it.
SELECT run_id, ts, state, message, data FROM base.run_log WHERE run_id = $run_id ORDER BY rowid LIMIT 1;

-- versions_of_job --
-- The texts that the file of one job has had.
SELECT version, ts, "by", yaml FROM base.job_versions WHERE job_id = $job_id ORDER BY version;

-- job_texts --
-- The last version of each job, to see which files have changed since.
SELECT job_id, version, yaml FROM base.job_versions
QUALIFY row_number() OVER (PARTITION BY job_id ORDER BY version DESC) = 1;

-- add_versions --
-- New versions, each one after the other of its job.
INSERT INTO base.job_versions
SELECT $ts, $by, unnest($job_ids::VARCHAR[]), unnest($versions::INTEGER[]), unnest($texts::VARCHAR[]);

-- log_of_run --
-- The story of one run. That its outputs were given up is not in the journal: a row of an old run among those of
-- new ones would make every look-up by run slower.
SELECT ts, state, message FROM (
    SELECT rowid AS n, ts, state, message FROM base.run_log WHERE run_id = $run_id
    UNION ALL
    SELECT NULL, d.ts, r.state, 'its outputs were dropped: ' || d.reason
    FROM base.dropped d JOIN base.runs r USING (run_id) WHERE d.run_id = $run_id AND r.run_id = $run_id
)
ORDER BY n NULLS LAST;

-- run --
-- One finished run.
SELECT run_id, job_id, args, origin, attempt, rerun_of, backfill_id, state, skip_reason, labels, nominal_at,
    scheduled_at, started_at, finished_at, stop_at, late, late_s, late_why, elapsed_s, return_code, message, host,
    "by", program_id
FROM base.runs WHERE run_id = $run_id LIMIT 1;

-- meta_of_run --
-- What the program of a finished run used and said.
SELECT cpu_s, max_rss_b, read_b, write_b, detail, meta FROM base.run_meta WHERE run_id = $run_id LIMIT 1;

-- imported_of_run --
-- Where a run came from, the last place first.
SELECT source, source_run, ts FROM base.imported WHERE run_id = $run_id ORDER BY rowid DESC;

-- run_outputs --
-- Where the outputs of a run lie. A run that was packed again after a crash has only its last rows.
SELECT name, content_type, length, pack, pack_offset, stored
FROM base.outputs
WHERE run_id = $run_id AND NOT EXISTS (SELECT 1 FROM base.dropped WHERE run_id = $run_id)
QUALIFY row_number() OVER (PARTITION BY name ORDER BY rowid DESC) = 1
ORDER BY rowid;

-- dropped_of_run --
-- When the outputs of a run were given up, and why.
SELECT ts, reason FROM base.dropped WHERE run_id = $run_id LIMIT 1;

-- outputs_beyond --
-- Whose outputs are beyond what is kept: a row a run, the oldest first, or a row a job. Of each job the newest run's
-- stay, whatever their size.
WITH kept AS (
    SELECT run_id, sum(stored)::BIGINT AS stored, count(DISTINCT name) AS outputs
    FROM base.outputs ANTI JOIN base.dropped USING (run_id)
    GROUP BY run_id
), rules AS (
    SELECT unnest($jobs::VARCHAR[]) AS job_id, unnest($ages_s::DOUBLE[]) AS age_s,
        unnest($sizes_b::BIGINT[]) AS size_b, unnest($counts::BIGINT[]) AS count
), ranked AS (
    SELECT r.job_id, r.run_id, r.finished_at, k.stored, k.outputs,
        row_number() OVER newest AS nth, sum(k.stored) OVER newest AS total,
        CASE WHEN o.job_id IS NULL THEN $age_s::DOUBLE ELSE o.age_s END AS age_s,
        CASE WHEN o.job_id IS NULL THEN $size_b::BIGINT ELSE o.size_b END AS size_b,
        CASE WHEN o.job_id IS NULL THEN $count::BIGINT ELSE o.count END AS count
    FROM kept k JOIN base.runs r USING (run_id) LEFT JOIN rules o USING (job_id)
    WINDOW newest AS (
        PARTITION BY r.job_id ORDER BY r.finished_at DESC, r.run_id DESC ROWS UNBOUNDED PRECEDING)
), judged AS (
    SELECT job_id, run_id, finished_at, stored, outputs,
        CASE WHEN finished_at < $now::TIMESTAMP - to_seconds(age_s) THEN 'age'
            WHEN nth > count THEN 'count'
            WHEN nth > 1 AND total > size_b THEN 'bytes' END AS bound
    FROM ranked
)
SELECT
    job_id, CASE WHEN $by_run THEN run_id END AS run_id, CASE WHEN $by_run THEN bound END AS bound,
    min(run_id) AS first_id, count(*) AS runs, sum(outputs)::BIGINT AS outputs, sum(stored)::BIGINT AS stored,
    max(finished_at) AS last_at
FROM judged WHERE bound IS NOT NULL
GROUP BY ALL ORDER BY CASE WHEN $by_run THEN first_id END, job_id
LIMIT $limit;

-- packs_dropped_last --
-- Where the outputs lie that were given up last: a crash may have come before their room was freed.
SELECT DISTINCT pack FROM base.outputs
SEMI JOIN (SELECT run_id FROM base.dropped WHERE ts = (SELECT max(ts) FROM base.dropped)) d USING (run_id);

-- pieces_dropped --
-- The pieces of a pack that nobody needs.
SELECT pack_offset, stored FROM base.outputs SEMI JOIN base.dropped USING (run_id)
WHERE pack = $pack ORDER BY pack_offset;

-- packs_not_needed --
-- Of some packs those of which every piece was given up.
SELECT pack FROM base.outputs o LEFT JOIN base.dropped d USING (run_id)
WHERE list_contains($packs::VARCHAR[], pack)
GROUP BY pack HAVING count(*) = count(d.run_id);

-- find_runs --
-- For each wish the newest run that satisfies it, for all who wait in one scan. A test run satisfies nobody.
SELECT w.wish, max(r.run_id)
FROM (
    SELECT unnest($wishes::BIGINT[]) AS wish, unnest($job_ids::VARCHAR[]) AS job_id,
        unnest($args::VARCHAR[]) AS args, unnest($states::VARCHAR[])::base.run_state AS state
) w
JOIN base.runs r ON r.job_id = w.job_id AND r.args = w.args AND r.state = w.state
WHERE r.origin <> 'test'
GROUP BY w.wish;

-- mark_line --
-- What the log of a finished run says of a mark. If it has gone into the archive meanwhile, nothing happens to it.
INSERT INTO base.run_log
SELECT $run_id, $ts, $state::base.run_state, $line, NULL
WHERE EXISTS (SELECT 1 FROM base.runs WHERE run_id = $run_id);

-- mark_anew --
-- A finished run with another end, in a row of its own; the old one goes by mark_away, in the same transaction.
INSERT INTO base.runs
SELECT * REPLACE (
    $state::base.run_state AS state, $message AS message,
    CASE WHEN $state = 'skipped' THEN coalesce(skip_reason, $message) END AS skip_reason)
FROM base.runs WHERE run_id = $run_id LIMIT 1;

-- mark_away --
-- The row of a run as it ended before it was marked.
DELETE FROM base.runs WHERE run_id = $run_id AND state <> $state::base.run_state;

-- pauses --
-- What is paused: the last word on each scope and target.
SELECT ts, "by", scope, target, until, reason FROM base.pauses
QUALIFY row_number() OVER (PARTITION BY scope, target ORDER BY rowid DESC) = 1 AND paused
ORDER BY ts;

-- backfill_ends --
-- How the runs of backfills that are under way ended, in the order in which they did.
SELECT backfill_id, state FROM base.runs
WHERE list_contains($ids::BIGINT[], backfill_id) AND state <> 'skipped'
ORDER BY finished_at, run_id;
-- bad_jobs --
-- Of some jobs (NULL: of all) those whose last run ended badly, so that they can recover after a restart.
SELECT job_id FROM base.runs
WHERE state IN ('success', 'failure', 'error') AND origin <> 'test'
    AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
GROUP BY job_id HAVING arg_max(state, finished_at) <> 'success';

-- last_notice --
-- The number of the last notice of a run; 0: it has none.
SELECT coalesce(max(n), 0) FROM base.notices WHERE run_id = $run_id;

-- pending_notices --
-- What was to be sent when the last server ended.
SELECT p.run_id, p.n, p.event, p.action, coalesce(f.tries, 0), p.message
FROM base.notices p
LEFT JOIN (SELECT run_id, n, max(tries) AS tries FROM base.notices WHERE state = 'failed' GROUP BY run_id, n) f
    USING (run_id, n)
ANTI JOIN (SELECT run_id, n FROM base.notices WHERE state IN ('sent', 'given up')) s USING (run_id, n)
WHERE p.state = 'pending'
ORDER BY p.rowid;

-- marks --
-- What must not go back: the next run id, the floor of recovery, the last program, the clock.
SELECT
    greatest((SELECT coalesce(max(next_id), 1) FROM base.ids), (SELECT coalesce(max(run_id), 0) + 1 FROM base.run_log),
        (SELECT coalesce(max(last_id), 0) + 1 FROM base.archived)),
    (SELECT coalesce(max(run_id), 0) FROM base.floor),
    (SELECT coalesce(max(program_id), 0) FROM base.programs),
    (SELECT max(clock_at) FROM base.clock);

-- runs_page --
-- Finished runs, newest first, from where the last page ended.
SELECT run_id, job_id, args, origin, attempt, rerun_of, backfill_id, state, skip_reason, labels, nominal_at,
    scheduled_at, started_at, finished_at, stop_at, late, late_s, late_why, elapsed_s, return_code, message, host, "by"
FROM base.runs
WHERE ($since::TIMESTAMP IS NULL OR scheduled_at >= $since)
    AND ($until::TIMESTAMP IS NULL OR scheduled_at < $until)
    AND ($job_id::VARCHAR IS NULL OR job_id = $job_id)
    AND ($states::VARCHAR[] IS NULL OR list_contains($states::base.run_state[], state))
    AND ($label::VARCHAR IS NULL OR contains(labels, $label))
    AND ($late::BOOLEAN IS NULL OR late = $late)
    AND ($before_at::TIMESTAMP IS NULL
        OR (scheduled_at <= $before_at AND (scheduled_at < $before_at OR run_id < $before_id))) /* args */
ORDER BY scheduled_at DESC, run_id DESC LIMIT $limit;

-- runs --
-- The frame of runs, newest first, for those who want many.
SELECT run_id, job_id, args, origin, attempt, rerun_of, backfill_id, state, skip_reason, labels, nominal_at,
    scheduled_at, started_at, finished_at, stop_at, late, late_s, late_why, elapsed_s, return_code, message, host, "by"
FROM runs
WHERE scheduled_at >= $since AND scheduled_at < $until
    AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
    AND ($states::VARCHAR[] IS NULL OR list_contains($states::base.run_state[], state))
    AND ($label::VARCHAR IS NULL OR contains(labels, $label))
    AND ($late::BOOLEAN IS NULL OR late = $late) /* args */
ORDER BY scheduled_at DESC, run_id DESC
LIMIT $limit;

-- runs_piece --
-- A piece of the frame of runs, in no order.
SELECT run_id, job_id, args, origin, attempt, rerun_of, backfill_id, state, skip_reason, labels, nominal_at,
    scheduled_at, started_at, finished_at, stop_at, late, late_s, late_why, elapsed_s, return_code, message, host, "by"
FROM runs
WHERE scheduled_at >= $since AND scheduled_at < $until
    AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
    AND ($states::VARCHAR[] IS NULL OR list_contains($states::base.run_state[], state))
    AND ($label::VARCHAR IS NULL OR contains(labels, $label))
    AND ($late::BOOLEAN IS NULL OR late = $late) /* args */;

-- runs_cuts --
-- Where the frame of runs may be cut into pieces of about $rows rows: beginnings of minutes, newest first.
WITH minutes AS (
    SELECT date_trunc('minute', scheduled_at) AS minute, count(*) AS n
    FROM runs
    WHERE scheduled_at >= $since AND scheduled_at < $until
        AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
        AND ($states::VARCHAR[] IS NULL OR list_contains($states::base.run_state[], state))
        AND ($label::VARCHAR IS NULL OR contains(labels, $label))
        AND ($late::BOOLEAN IS NULL OR late = $late) /* args */
    GROUP BY minute
), pieces AS (
    SELECT minute, (sum(n) OVER (ORDER BY minute DESC) - n) // $rows AS piece FROM minutes
)
SELECT min(minute) AS cut FROM pieces GROUP BY piece ORDER BY cut DESC;

-- log --
-- The frame of the logs of all runs.
SELECT run_id, ts, state, message FROM base.run_log WHERE ts >= $since AND ts < $until ORDER BY ts, run_id, rowid;

-- counts --
-- Runs by period, state and, if wanted, job. In another zone than UTC days are put together from quarters of an
-- hour, as every zone's offset is made of those: so the slow arithmetic with zones is done for a few rows only.
WITH pieces AS (
    SELECT
        CASE WHEN $tz = 'UTC' THEN date_trunc($unit, scheduled_at)
            ELSE time_bucket(INTERVAL 15 MINUTE, scheduled_at) END AS piece,
        CASE WHEN $by_job THEN job_id END AS job_id, state, count(*) AS runs, count(*) FILTER (late) AS late
    FROM runs
    WHERE scheduled_at >= $since AND scheduled_at < $until AND origin <> 'test'
        AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
    GROUP BY ALL
), periods AS (
    SELECT piece, CASE WHEN $tz = 'UTC' THEN piece ELSE timezone('UTC', timezone($tz, date_trunc($unit,
        timezone($tz, timezone('UTC', piece))))) END AS period
    FROM (SELECT DISTINCT piece FROM pieces)
)
SELECT period, job_id, state, sum(runs)::BIGINT AS runs, sum(late)::BIGINT AS late
FROM pieces JOIN periods USING (piece) GROUP BY ALL ORDER BY ALL;

-- calendar --
-- A cell of the heat map is a day or an hour; put together as in counts.
WITH pieces AS (
    SELECT
        CASE WHEN $tz = 'UTC' THEN date_trunc($unit, scheduled_at)
            ELSE time_bucket(INTERVAL 15 MINUTE, scheduled_at) END AS piece,
        count(*) AS runs,
        count(*) FILTER (state IN ('failure', 'error')) AS failed,
        count(*) FILTER (late) AS late,
        count(*) FILTER (state = 'skipped') AS skipped,
        sum(elapsed_s) AS elapsed_s
    FROM runs
    WHERE scheduled_at >= $since AND scheduled_at < $until AND origin <> 'test'
        AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
    GROUP BY ALL
)
SELECT
    CASE WHEN $tz = 'UTC' THEN piece ELSE timezone('UTC', timezone($tz, date_trunc($unit,
        timezone($tz, timezone('UTC', piece))))) END AS period,
    sum(runs)::BIGINT AS runs, sum(failed)::BIGINT AS failed, sum(late)::BIGINT AS late,
    sum(skipped)::BIGINT AS skipped, coalesce(sum(elapsed_s), 0) AS elapsed_s
FROM pieces GROUP BY ALL ORDER BY period;

-- durations --
-- How long the programs of each job took, by period in UTC: percentiles cannot be put together from pieces. Both in
-- one list: so their values are gathered once.
SELECT job_id, period, runs, mean_s, quantiles[1] AS p50_s, quantiles[2] AS p95_s, max_s
FROM (
    SELECT job_id, date_trunc($unit, scheduled_at) AS period, count(*) AS runs, avg(elapsed_s) AS mean_s,
        quantile_cont(elapsed_s, [0.5, 0.95]) AS quantiles, max(elapsed_s) AS max_s
    FROM base.runs
    WHERE scheduled_at >= $since AND scheduled_at < $until AND state = 'success' AND origin <> 'test'
        AND elapsed_s IS NOT NULL
        AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
    GROUP BY ALL
)
ORDER BY job_id, period;

-- lateness --
-- How late the runs of each job's schedules started, by period in UTC; those that still wait count up to now.
SELECT job_id, period, runs, late, quantiles[1] AS p50_s, quantiles[2] AS p95_s, max_s
FROM (
    SELECT job_id, date_trunc($unit, scheduled_at) AS period, count(*) AS runs, count(*) FILTER (late) AS late,
        quantile_cont(late_s, [0.5, 0.95]) AS quantiles, max(late_s) AS max_s
    FROM runs
    WHERE scheduled_at >= $since AND scheduled_at < $until AND late_s IS NOT NULL AND origin <> 'test'
        AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
    GROUP BY ALL
)
ORDER BY job_id, period;

-- timeline --
-- Bars: a run each while there are at most $max_bars in the window, else a bar for each job and four pixels; with
-- many jobs the pieces are wider, so that the answer never grows beyond five times $max_bars. A piece holds the runs
-- that begin in it.
WITH seen AS MATERIALIZED (
    SELECT run_id, job_id, state, scheduled_at, started_at, finished_at, late, late_s
    FROM base.runs
    WHERE scheduled_at < $until AND finished_at >= $since
        AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
    UNION ALL
    SELECT run_id, job_id, state, scheduled_at, started_at, NULL, late, late_s
    FROM live_runs
    WHERE scheduled_at < $until AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
), scale AS (
    SELECT count(*) <= $max_bars AS is_fine,
        (epoch_us($until) - epoch_us($since)) / greatest(1, least($px / 4, 5 * $max_bars / count(DISTINCT job_id)))
            AS piece_us
    FROM seen
), keyed AS (
    SELECT seen.*,
        CASE WHEN is_fine THEN run_id
            ELSE (epoch_us(coalesce(started_at, scheduled_at)) - epoch_us($since)) // piece_us::BIGINT END AS piece,
        CASE state WHEN 'error' THEN 8 WHEN 'failure' THEN 7 WHEN 'stopping' THEN 6 WHEN 'running' THEN 5
            WHEN 'starting' THEN 4 WHEN 'waiting' THEN 3 WHEN 'scheduled' THEN 2 WHEN 'skipped' THEN 1 ELSE 0
        END AS badness
    FROM seen CROSS JOIN scale
)
SELECT
    job_id, min(run_id) AS run_id, min(scheduled_at) AS scheduled_at, min(started_at) AS started_at,
    CASE WHEN count(finished_at) = count(*) THEN max(finished_at) END AS finished_at,
    arg_max(state, badness) AS state, bool_or(late) AS late, max(late_s) AS late_s, count(*) AS runs
FROM keyed
GROUP BY job_id, piece
ORDER BY job_id, scheduled_at, run_id;

-- missed --
-- Occurrences that no run executed, newest first.
SELECT run_id, job_id, args, nominal_at, skipped_at, skip_reason
FROM missed
WHERE nominal_at >= $since AND nominal_at < $until
    AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
ORDER BY nominal_at DESC, run_id DESC
LIMIT $limit;

-- jobs --
-- What the runs of each job were like.
SELECT job_id, count(*) AS runs,
    count(*) FILTER (state = 'success') AS success,
    count(*) FILTER (state IN ('failure', 'error')) AS failed,
    count(*) FILTER (state = 'skipped') AS skipped,
    count(*) FILTER (late) AS late,
    quantile_cont(elapsed_s, 0.5) AS p50_s,
    arg_max(run_id, scheduled_at) AS last_run_id,
    arg_max(state, scheduled_at) AS last_state,
    max(scheduled_at) AS last_scheduled_at
FROM runs
WHERE scheduled_at >= $since AND scheduled_at < $until AND origin <> 'test'
    AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
GROUP BY job_id ORDER BY job_id;

-- summary --
-- A row a job for a report: how its runs ended, how long its programs took, which was the longest and the latest.
SELECT job_id, runs, success, failed, skipped, due, late, quantiles[1] AS p50_s, quantiles[2] AS p95_s, max_s,
    longest_run_id, max_late_s, latest_run_id
FROM (
    SELECT job_id, count(*) AS runs,
        count(*) FILTER (state = 'success') AS success,
        count(*) FILTER (state IN ('failure', 'error')) AS failed,
        count(*) FILTER (state = 'skipped') AS skipped,
        count(late_s) AS due,
        count(*) FILTER (late AND late_s IS NOT NULL) AS late,
        quantile_cont(elapsed_s, [0.5, 0.95]) FILTER (state = 'success') AS quantiles,
        max(elapsed_s) AS max_s, arg_max(run_id, elapsed_s) AS longest_run_id,
        max(late_s) AS max_late_s, arg_max(run_id, late_s) AS latest_run_id
    FROM runs
    WHERE scheduled_at >= $since AND scheduled_at < $until AND origin <> 'test'
        AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
    GROUP BY job_id
)
ORDER BY job_id;

-- on_time --
-- Which share of the runs of each job's schedules kept its budgets. A run that started late is counted for its start
-- alone, whenever it ended; one that is late and never started, for its start too.
WITH counted AS (
    SELECT job_id, date_trunc($unit, scheduled_at) AS period, count(*) AS n,
        count(*) FILTER (late AND (late_why IS NOT NULL OR started_at IS NULL)) AS late_start,
        count(*) FILTER (late AND late_why IS NULL AND started_at IS NOT NULL) AS late_finish
    FROM runs
    WHERE scheduled_at >= $since AND scheduled_at < $until AND late_s IS NOT NULL AND origin <> 'test'
        AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
    GROUP BY ALL
)
SELECT job_id, period, n AS runs, late_start, late_finish, 1 - late_start / n AS started_share,
    1 - (late_start + late_finish) / n AS on_time_share
FROM counted ORDER BY job_id, period;

-- drift --
-- What has slowly moved: the successes of each job's schedules, of the last period and of the one before it. An end is
-- counted from the midnight before its run was due, so that an end after midnight is late and not early. The offset
-- of a zone is found once for each quarter of an hour, as in counts.
WITH seen AS (
    SELECT job_id, scheduled_at >= $until::TIMESTAMP - $period AS is_now, scheduled_at, finished_at, late_s, elapsed_s,
        epoch_us(scheduled_at) // 900_000_000 AS quarter
    FROM base.runs
    WHERE scheduled_at >= $until::TIMESTAMP - 2 * $period AND scheduled_at < $until
        AND state = 'success' AND origin = 'schedule'
        AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
), offsets AS (
    SELECT quarter, epoch_us(timezone($tz, timezone('UTC', make_timestamp(quarter * 900_000_000))))
        - quarter * 900_000_000 AS offset_us
    FROM (SELECT DISTINCT quarter FROM seen)
), facts AS (
    SELECT job_id, is_now, late_s, elapsed_s,
        (epoch_us(finished_at) - epoch_us(scheduled_at) + (epoch_us(scheduled_at) + offset_us) % 86_400_000_000) / 1e6
            AS finish_s
    FROM seen JOIN offsets USING (quarter)
), medians AS (
    SELECT job_id, is_now, count(*) AS runs, quantile_cont(late_s, 0.5) AS late_s,
        quantile_cont(finish_s, 0.5) AS finish_s, quantile_cont(elapsed_s, 0.5) AS elapsed_s
    FROM facts GROUP BY job_id, is_now
)
SELECT job_id, coalesce(n.runs, 0) AS runs, coalesce(b.runs, 0) AS runs_before,
    n.late_s, b.late_s AS late_before_s, n.late_s - b.late_s AS late_change_s,
    n.finish_s, b.finish_s AS finish_before_s, n.finish_s - b.finish_s AS finish_change_s,
    n.elapsed_s, b.elapsed_s AS elapsed_before_s, n.elapsed_s - b.elapsed_s AS elapsed_change_s
FROM (FROM medians WHERE is_now) n FULL JOIN (FROM medians WHERE NOT is_now) b USING (job_id)
ORDER BY job_id;

-- cost --
-- What the programs of each job used, and what that costs. Memory is the most that a program had, for as long as it
-- ran. The bounds keep DuckDB from making a table of all runs with their jobs' names, to look each row of run_meta up.
WITH chosen AS (
    SELECT run_id, job_id, elapsed_s
    FROM base.runs
    WHERE scheduled_at >= $since AND scheduled_at < $until AND elapsed_s IS NOT NULL AND origin <> 'test'
        AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
), bounds AS (
    SELECT min(run_id) AS first_id, max(run_id) AS last_id FROM chosen
), known AS (
    SELECT run_id, cpu_s, max_rss_b
    FROM base.run_meta
    WHERE run_id >= (SELECT first_id FROM bounds) AND run_id <= (SELECT last_id FROM bounds)
), used AS (
    SELECT job_id, count(*) AS n, sum(elapsed_s) / 3600 AS elapsed_h, coalesce(sum(cpu_s), 0) / 3600 AS cpu_h,
        coalesce(sum(max_rss_b * elapsed_s), 0) / 3.6e12 AS memory_gb_h
    FROM chosen JOIN known USING (run_id)
    GROUP BY job_id
), priced AS (
    SELECT *, cpu_h * $cpu_hour::DOUBLE + memory_gb_h * $gb_hour::DOUBLE AS cost FROM used
)
SELECT job_id, n AS runs, elapsed_h, cpu_h, memory_gb_h, cost, cost / n AS cost_per_run FROM priced ORDER BY job_id;

-- concurrency --
-- How many programs ran at once, in whole microseconds from $since on. How many run when a piece begins, and the mean,
-- follow from how many start and end in each piece; only the peak needs all starts and ends in order. A change is an
-- even number for an end and an odd one for a start: so of those in one instant the ends come first, and what starts
-- when another ends is not counted together with it. The k-th start is the n-th change: 2 k - n run then.
WITH seen AS (
    SELECT epoch_us(greatest(started_at, $since)) - epoch_us($since::TIMESTAMP) AS began,
        epoch_us(least(finished_at, $until)) - epoch_us($since::TIMESTAMP) AS ended
    FROM (
        SELECT started_at, finished_at
        FROM base.runs
        WHERE finished_at > $since AND started_at < $until AND origin <> 'test'
            AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
        UNION ALL
        SELECT started_at, utc_now()
        FROM live_runs
        WHERE started_at < $until AND origin <> 'test'
            AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
    )
), changes AS (
    SELECT 2 * began + 1 AS change FROM seen UNION ALL SELECT 2 * ended FROM seen
), starts AS (
    -- numbered as the rows come, which is in order: to sort again for each window would take twice as long
    SELECT change >> 1 AS us, 2 * row_number() OVER () - n AS running
    FROM (SELECT change, row_number() OVER () AS n FROM (SELECT change FROM changes ORDER BY change))
    WHERE change & 1 = 1
), peaks AS (
    SELECT us // epoch_us($every) AS piece, max(running) AS peak FROM starts GROUP BY piece
), began AS (
    SELECT (began + epoch_us($every) - 1) // epoch_us($every) - 1 AS piece, count(*) AS runs, sum(began) AS us
    FROM seen GROUP BY piece
), ended AS (
    SELECT (ended + epoch_us($every) - 1) // epoch_us($every) - 1 AS piece, count(*) AS runs, sum(ended) AS us
    FROM seen GROUP BY piece
), pieces AS (
    SELECT piece, piece * epoch_us($every) AS us,
        least((piece + 1) * epoch_us($every), epoch_us($until::TIMESTAMP) - epoch_us($since::TIMESTAMP)) AS stop_us
    FROM (
        SELECT unnest(range(-1, ceil(epoch($until::TIMESTAMP - $since::TIMESTAMP) / epoch($every))::BIGINT)) AS piece
    )
), changed AS (
    -- what changes at the very beginning of a piece is counted in the one before
    SELECT pieces.us, stop_us, peak,
        coalesce(b.runs, 0) - coalesce(e.runs, 0) AS change, coalesce(b.us, 0) - coalesce(e.us, 0) AS changed_us,
        sum(change) OVER (ORDER BY piece ROWS UNBOUNDED PRECEDING) - change AS running
    FROM pieces LEFT JOIN peaks USING (piece) LEFT JOIN began b USING (piece) LEFT JOIN ended e USING (piece)
)
SELECT make_timestamp(epoch_us($since::TIMESTAMP) + us) AS period, running::BIGINT AS running,
    greatest(running, peak)::BIGINT AS peak,
    running + (change * stop_us - changed_us)::DOUBLE / (stop_us - us) AS mean
FROM changed WHERE us >= 0 ORDER BY period;

-- estimates --
-- When those that run will end, as the last $limit successes of their jobs say.
WITH running AS (
    SELECT run_id, job_id, started_at FROM live_runs
    WHERE started_at IS NOT NULL AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
), newest AS (
    SELECT job_id, arg_max(elapsed_s, finished_at, $limit) AS took
    FROM base.runs SEMI JOIN running USING (job_id)
    WHERE scheduled_at >= $since AND scheduled_at < $until AND state = 'success' AND origin <> 'test'
        AND elapsed_s IS NOT NULL
    GROUP BY job_id
), typical AS (
    SELECT job_id, len(took) AS runs, list_aggregate(took, 'quantile_cont', 0.5) AS p50_s,
        list_aggregate(took, 'quantile_cont', 0.95) AS p95_s
    FROM newest
)
SELECT run_id, job_id, started_at, coalesce(runs, 0) AS runs, p50_s, p95_s,
    started_at + to_microseconds((p50_s * 1e6)::BIGINT) AS p50_at,
    started_at + to_microseconds((p95_s * 1e6)::BIGINT) AS p95_at
FROM running LEFT JOIN typical USING (job_id)
ORDER BY started_at, run_id;

-- last_runs --
-- The newest $limit runs of each job, newest first: what its row of small bars shows. First only which these are: to
-- carry along all that is shown would take four times as long.
WITH newest AS (
    SELECT unnest(arg_max(run_id, scheduled_at, $limit)) AS run_id
    FROM runs
    WHERE scheduled_at >= $since AND scheduled_at < $until AND origin <> 'test'
        AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs::VARCHAR[], job_id))
    GROUP BY job_id
), live AS MATERIALIZED (  -- else all journals were searched for the newest
    SELECT job_id, run_id, state, scheduled_at, started_at, finished_at, late, late_s, elapsed_s FROM live_runs
)
SELECT job_id, run_id, state, scheduled_at, started_at, finished_at, late, late_s, elapsed_s
FROM base.runs SEMI JOIN newest USING (run_id)
WHERE scheduled_at >= $since AND scheduled_at < $until
UNION ALL
FROM live SEMI JOIN newest USING (run_id)
ORDER BY job_id, scheduled_at DESC, run_id DESC;

-- backfills --
-- The backfills, newest first, with how far each is; `left` are those that have not begun.
SELECT
    backfill_id, any_value(job_id) AS job_id, any_value("by") AS "by", min(scheduled_at) AS asked_at,
    min(nominal_at) AS first_at, max(nominal_at) AS last_at,
    count(DISTINCT (args, nominal_at)) AS instances, count(*) AS runs,
    count(*) FILTER (state IN ('scheduled', 'waiting')) AS left,
    count(*) FILTER (state IN ('starting', 'running', 'stopping')) AS running,
    count(*) FILTER (state = 'success') AS success,
    count(*) FILTER (state IN ('failure', 'error')) AS failed,
    count(*) FILTER (state = 'skipped') AS skipped,
    max(finished_at) AS finished_at
FROM runs WHERE backfill_id IS NOT NULL AND ($backfill_id::BIGINT IS NULL OR backfill_id = $backfill_id)
GROUP BY backfill_id ORDER BY backfill_id DESC LIMIT $limit;

-- backfill_missing --
-- What a backfill has not got done, and nobody is at: the args and nominal times without a success or a live run.
SELECT any_value(job_id), args, nominal_at FROM runs WHERE backfill_id = $backfill_id
GROUP BY args, nominal_at
HAVING NOT bool_or(state NOT IN ('failure', 'error', 'skipped'))
ORDER BY min(run_id);

-- nominal_successes --
-- The nominal times at which a job has succeeded, for those that have no args to tell them apart.
SELECT DISTINCT nominal_at FROM base.runs
WHERE job_id = $job_id AND state = 'success' AND origin <> 'test'
    AND nominal_at >= $since AND nominal_at < $until;

-- jobs_that_ran --
-- The jobs that had a run since a time.
SELECT DISTINCT job_id FROM runs WHERE scheduled_at >= $since AND state <> 'skipped';

-- ends_lately --
-- How many runs have finished since a time, by how they ended.
SELECT state, count(*) FROM base.runs WHERE finished_at >= $since GROUP BY state;

-- lateness_lately --
-- Of each job, how many runs of schedules it had since a time, and how many of them started late.
SELECT job_id, count(*), count(*) FILTER (late)
FROM runs
WHERE scheduled_at >= $since AND late_s IS NOT NULL AND origin <> 'test'
GROUP BY job_id;

-- missed_lately --
-- Of each job, the times since then that were missed, and that no later run of the same time made up for.
SELECT m.job_id, count(*), min(m.nominal_at), max(m.nominal_at), count(DISTINCT m.args) > 1
FROM missed m
ANTI JOIN (
    SELECT job_id, args, nominal_at FROM base.runs WHERE nominal_at >= $since AND state = 'success'
) r ON r.job_id = m.job_id AND r.args = m.args AND r.nominal_at = m.nominal_at
WHERE m.nominal_at >= $since AND starts_with(m.skip_reason, 'misfire')
GROUP BY m.job_id;

-- cached --
-- The memory that the database has: mostly what it has read of the file, up to its limit.
SELECT coalesce(sum(memory_usage_bytes), 0)::BIGINT FROM duckdb_memory();
