-- Version 2: the texts of job files, each as it was when the server took it up.

CREATE TABLE base.job_versions (
    ts TIMESTAMP NOT NULL,
    "by" VARCHAR,
    job_id VARCHAR NOT NULL,
    version INTEGER NOT NULL,
    yaml VARCHAR
);

CREATE VIEW job_versions AS
SELECT job_id, version, ts, "by", yaml FROM base.job_versions;

CREATE VIEW jobs AS
SELECT job_id, version, ts AS changed_at, "by" AS changed_by, yaml
FROM base.job_versions
QUALIFY row_number() OVER (PARTITION BY job_id ORDER BY version DESC) = 1 AND yaml IS NOT NULL;
