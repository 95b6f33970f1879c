-- Secrets are here as hashes only: of passwords by Argon2id, of long random ones (tokens, cookies, links) by SHA-256.
CREATE TABLE password (
    user_id     TEXT   NOT NULL PRIMARY KEY,
    hash        TEXT   NOT NULL,
    changed_at  BIGINT NOT NULL
);

-- kind: 'api' (a token for programs), 'browser' (a cookie), 'admin' (the one-time link of init), 'enrolment' (of a router
-- or connector). owner: whose rights it carries, or what it enrols. used_at: set once for those that redeem once.
CREATE TABLE secret (
    hash        TEXT   NOT NULL PRIMARY KEY,
    id          TEXT   NOT NULL UNIQUE,
    kind        TEXT   NOT NULL,
    owner       TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    scopes      TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    seen_at     BIGINT,
    used_at     BIGINT,
    body        TEXT   NOT NULL
);
CREATE INDEX secret_of ON secret (owner, kind);

-- Failed attempts to log in, by what is attacked; shared by all servers.
CREATE TABLE attempt (
    subject   TEXT   NOT NULL PRIMARY KEY,
    failures  BIGINT NOT NULL,
    last_at   BIGINT NOT NULL
);

-- Answers to requests that carry an idempotency key.
CREATE TABLE idempotent (
    actor       TEXT   NOT NULL,
    key         TEXT   NOT NULL,
    request     TEXT   NOT NULL,
    status      BIGINT NOT NULL,
    answer      TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (actor, key)
);

CREATE TABLE approval (
    id           TEXT   NOT NULL PRIMARY KEY,
    tenant       TEXT   NOT NULL,
    user_id      TEXT   NOT NULL,
    target_id    TEXT   NOT NULL,
    reason       TEXT   NOT NULL,
    target_version BIGINT NOT NULL,
    asked_at     BIGINT NOT NULL,
    approver     TEXT,
    decided_at   BIGINT,
    granted      BIGINT,
    valid_until  BIGINT
);
CREATE INDEX approval_of ON approval (user_id, target_id);
