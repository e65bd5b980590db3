-- Version 2: the texts of job files, each as it was when the server took it up.

CREATE TABLE base.job_versions (
    ts TIMESTAMP NOT NULL,
    "by" VARCHAR,
    job_id VARCHAR NOT NULL,
    version INTEGER NOT NULL,
    yaml VARCHAR
);
