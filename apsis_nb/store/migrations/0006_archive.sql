-- Version 6: months of old runs that lie in files beside the database.

-- The folders of the archive whose runs are no longer here. Only what this names is read of the archive, so each run
-- is in one place at each moment.
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
