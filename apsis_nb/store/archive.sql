-- What reads and makes the archive: named blocks, as in queries.sql. First the tables of its files, each under the
-- name that it has in the database. Files have no enums, and the place of a row in its file is its rowid; one that came
-- to the database after its run was archived comes after those.

-- runs --
-- Finished runs.
SELECT * REPLACE (state::base.run_state AS state, origin::base.run_origin AS origin)
FROM read_parquet($archived_runs, union_by_name => true);

-- run_log --
-- Their journal.
SELECT * REPLACE (state::base.run_state AS state), file_row_number - (1::BIGINT << 60) AS rowid
FROM read_parquet($archived_run_log, union_by_name => true);

-- run_meta --
-- What their programs used.
SELECT * FROM read_parquet($archived_run_meta, union_by_name => true);

-- outputs --
-- Where their outputs lie: the pack files stay where they are.
SELECT *, file_row_number - (1::BIGINT << 60) AS rowid
FROM read_parquet($archived_outputs, union_by_name => true);

-- dropped --
-- Whose outputs had been given up.
SELECT * FROM read_parquet($archived_dropped, union_by_name => true);

-- notices --
-- What they had sent.
SELECT *, file_row_number - (1::BIGINT << 60) AS rowid
FROM read_parquet($archived_notices, union_by_name => true);

-- imported --
-- What they were called elsewhere.
SELECT *, file_row_number - (1::BIGINT << 60) AS rowid
FROM read_parquet($archived_imported, union_by_name => true);

-- programs --
-- The programs that they name; these are in the database, too.
SELECT * FROM read_parquet($archived_programs, union_by_name => true);

-- archived --
-- What is in the archive.
SELECT folder, ts, runs, first_id, last_id, first_at, last_at, bytes FROM base.archived ORDER BY folder;

-- is_archived --
-- Whether a month has a run.
SELECT 1 FROM read_parquet($archived_runs) WHERE run_id = $run_id LIMIT 1;

-- months --
-- The months of the database's finished runs that are old enough, and whether one of a month has something to send.
WITH pending AS (
    SELECT DISTINCT run_id FROM base.notices
    ANTI JOIN (SELECT run_id, n FROM base.notices WHERE state IN ('sent', 'given up')) s USING (run_id, n)
)
SELECT date_trunc('month', scheduled_at) AS begin, count(*) AS runs, min(scheduled_at), max(scheduled_at),
    count(p.run_id) > 0 AS has_pending
FROM base.runs LEFT JOIN pending p USING (run_id)
WHERE scheduled_at < $before
GROUP BY begin ORDER BY begin;

-- room --
-- How many finished runs the database has, and how many bytes it takes.
SELECT (SELECT count(*) FROM base.runs), (used_blocks * block_size)::BIGINT FROM pragma_database_size()
WHERE database_name = current_database();

-- month_rows --
-- The rows of a table that belong to the runs of a month, those of a run side by side.
SELECT t.* FROM base./* table */ t
SEMI JOIN (SELECT run_id FROM base.runs WHERE scheduled_at >= $begin AND scheduled_at < $end) USING (run_id)
ORDER BY t.run_id, t.rowid;

-- month_programs --
-- The programs that the runs of a month name.
SELECT p.* FROM base.programs p
SEMI JOIN (SELECT program_id FROM base.runs WHERE scheduled_at >= $begin AND scheduled_at < $end) USING (program_id)
ORDER BY p.program_id;

-- fingerprint --
-- How many rows there are, and a number that any other rows would hardly have.
SELECT count(*), coalesce(sum(hash(t)), 0)::VARCHAR FROM (/* rows */) t;

-- bounds --
-- The ids of the runs of a month, and the span of all that happened with them. A missed time counts when the schedule
-- said, as people ask for it by that.
WITH r AS (SELECT * FROM base.runs WHERE scheduled_at >= $begin AND scheduled_at < $end)
SELECT min(run_id), max(run_id),
    least(min(scheduled_at), min(started_at), min(finished_at), min(nominal_at) FILTER (state = 'skipped'),
        (SELECT min(ts) FROM base.run_log SEMI JOIN r USING (run_id))),
    greatest(max(scheduled_at), max(started_at), max(finished_at), max(nominal_at) FILTER (state = 'skipped'),
        (SELECT max(ts) FROM base.run_log SEMI JOIN r USING (run_id)))
FROM r;

-- remove_rows --
-- The rows of a table whose runs lie in the archive from now on.
DELETE FROM base./* table */
WHERE run_id IN (SELECT run_id FROM base.runs WHERE scheduled_at >= $begin AND scheduled_at < $end);

-- add_archived --
-- A folder that is read from now on.
INSERT INTO base.archived VALUES ($folder, $ts, $runs, $first_id, $last_id, $first_at, $last_at, $bytes);

-- remove_archived --
-- A folder that is read no more.
DELETE FROM base.archived WHERE folder = $folder;

-- put_back --
-- The rows of a file, in the database again.
INSERT INTO base./* table */ BY NAME SELECT * FROM (/* rows */);

-- put_back_in_order --
-- The same of a table whose rows have an order.
INSERT INTO base./* table */ BY NAME SELECT * EXCLUDE (rowid) FROM (/* rows */) ORDER BY rowid;

-- put_back_programs --
-- Programs that the database does not have.
INSERT INTO base.programs SELECT program_id, program FROM (/* rows */) ANTI JOIN base.programs USING (program_id);

-- same_ids --
-- Which runs of a file have ids that are taken in the database.
SELECT run_id FROM base.runs SEMI JOIN (/* rows */) f USING (run_id);

-- same_runs --
-- Which runs of a file are in the database. Another store may have given the same ids to runs of its own.
SELECT run_id FROM base.runs SEMI JOIN (/* rows */) f USING (run_id, job_id, scheduled_at, finished_at);

-- count --
-- How many rows there are.
SELECT count(*) FROM (/* rows */);

-- write --
-- Rows, into a file.
COPY (/* rows */) TO $file (FORMAT parquet, COMPRESSION zstd);
