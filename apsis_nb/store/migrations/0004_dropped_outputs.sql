-- Version 4: outputs that are not kept any more.

-- The runs whose outputs were given up, when and why: the pieces of the pack files that they had are free.
CREATE TABLE base.dropped (
    run_id BIGINT NOT NULL,
    ts TIMESTAMP NOT NULL,
    reason VARCHAR NOT NULL
);
