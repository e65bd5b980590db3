-- Version 5: runs that came from elsewhere.

-- What a run was called where it came from, and, if it had come there from elsewhere, what it was called there.
CREATE TABLE base.imported (
    run_id BIGINT NOT NULL,
    source VARCHAR NOT NULL,
    source_run BIGINT NOT NULL,
    ts TIMESTAMP NOT NULL
);
