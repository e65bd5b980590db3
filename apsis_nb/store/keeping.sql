-- What backups and restored stores ask of a database.

-- packs_needed --
-- How far into each pack file the outputs reach that are kept: a pack only grows, so its beginning is enough.
SELECT pack, max(pack_offset + stored) FROM base.outputs ANTI JOIN base.dropped USING (run_id)
GROUP BY pack ORDER BY pack;

-- epoch --
-- Which store it is, and which schema it has: the last row holds.
SELECT epoch, schema_version FROM base.meta ORDER BY rowid DESC LIMIT 1;

-- new_epoch --
-- A restored store is another one: its runs have run directories of their own.
INSERT INTO base.meta SELECT schema_version, $epoch, $now FROM base.meta ORDER BY rowid DESC LIMIT 1;

-- size_and_age --
-- How many finished runs a database has, and when its server was there last.
SELECT (SELECT count(*) FROM base.runs), (SELECT max(clock_at) FROM base.clock);

-- starting --
-- Live runs whose programs were about to start: whether they did, the store did not know yet.
SELECT run_id FROM base.run_log ANTI JOIN base.runs USING (run_id)
GROUP BY run_id HAVING max(state) = 'starting' ORDER BY run_id;
