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

-- log --
-- The story of one run.
SELECT ts, state, message FROM base.run_log WHERE run_id = $run_id ORDER BY rowid;

-- run --
-- One finished run.
SELECT run_id, job_id, args, origin, attempt, rerun_of, backfill_id, state, skip_reason, labels, nominal_at,
    scheduled_at, started_at, finished_at, stop_at, late, late_s, late_why, elapsed_s, return_code, message, host,
    "by", program_id
FROM base.runs WHERE run_id = $run_id LIMIT 1;

-- run_outputs --
-- Where the outputs of a run lie. A run that was packed again after a crash has only its last rows.
SELECT name, content_type, length, pack, pack_offset, stored
FROM base.outputs WHERE run_id = $run_id
QUALIFY row_number() OVER (PARTITION BY name ORDER BY rowid DESC) = 1
ORDER BY rowid;

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

-- marks --
-- What must not go back: the next run id, the floor of recovery, the last program, the clock.
SELECT
    greatest((SELECT coalesce(max(next_id), 1) FROM base.ids), (SELECT coalesce(max(run_id), 0) + 1 FROM base.run_log)),
    (SELECT coalesce(max(run_id), 0) FROM base.floor),
    (SELECT coalesce(max(program_id), 0) FROM base.programs),
    (SELECT max(clock_at) FROM base.clock);
