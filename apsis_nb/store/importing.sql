-- What the import of past runs asks, of the file that they come from and of the store that they go to: named blocks,
-- as in queries.sql.

-- past_count --
-- How many finished runs a file has.
SELECT count(*) FROM base.runs;

-- past_runs --
-- The next finished runs of a file.
SELECT run_id, job_id, args, origin, attempt, rerun_of, backfill_id, state, skip_reason, labels, nominal_at,
    scheduled_at, started_at, finished_at, stop_at, late, late_s, late_why, elapsed_s, return_code, message, host,
    "by", program_id
FROM base.runs WHERE run_id > $after ORDER BY run_id LIMIT $limit;

-- past_log --
-- Their stories.
SELECT run_id, ts, state, message, data FROM base.run_log
WHERE run_id BETWEEN $first AND $last ORDER BY run_id, rowid;

-- past_meta --
-- What their programs used and said.
SELECT run_id, cpu_s, max_rss_b, read_b, write_b, detail, meta FROM base.run_meta
WHERE run_id BETWEEN $first AND $last;

-- past_outputs --
-- Where their outputs lie, without those that were given up.
SELECT run_id, name, content_type, length, pack, pack_offset, stored
FROM base.outputs o
WHERE run_id BETWEEN $first AND $last AND NOT EXISTS (SELECT 1 FROM base.dropped d WHERE d.run_id = o.run_id)
QUALIFY row_number() OVER (PARTITION BY run_id, name ORDER BY o.rowid DESC) = 1
ORDER BY o.rowid;

-- past_dropped --
-- Which of them had their outputs given up.
SELECT run_id, ts, reason FROM base.dropped WHERE run_id BETWEEN $first AND $last;

-- past_imported --
-- Where those of them came from that were imported themselves.
SELECT run_id, source, source_run, ts FROM base.imported WHERE run_id BETWEEN $first AND $last ORDER BY rowid;

-- past_live --
-- The runs of a file that had not finished.
SELECT run_id, max(state) FROM base.run_log ANTI JOIN base.runs USING (run_id) GROUP BY run_id ORDER BY run_id;

-- known --
-- Which of some runs are here, and as what: those that were imported before, and those of which the file is a copy.
SELECT DISTINCT w.n, r.run_id
FROM (
    SELECT unnest($ns::BIGINT[]) AS n, unnest($ids::BIGINT[]) AS source_run, unnest($job_ids::VARCHAR[]) AS job_id,
        unnest($ends::TIMESTAMP[]) AS finished_at
) w
JOIN base.runs r ON r.job_id = w.job_id AND r.finished_at = w.finished_at
LEFT JOIN base.imported i ON i.run_id = r.run_id
WHERE r.run_id = w.source_run OR i.source_run = w.source_run;

-- new_names --
-- What earlier runs of a job are called here, by what they were called where they came from.
SELECT i.source_run, r.job_id, max(i.run_id)
FROM base.imported i JOIN base.runs r ON r.run_id = i.run_id
WHERE list_contains($ids::BIGINT[], i.source_run)
GROUP BY ALL;
