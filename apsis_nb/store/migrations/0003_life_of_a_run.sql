-- Version 3: what programs used, who paused what, and the messages that runs order.

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
