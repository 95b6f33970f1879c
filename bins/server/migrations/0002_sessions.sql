-- Sessions, ongoing and past. body holds the target as it was when the session was opened; router is the first of the group.
CREATE TABLE session (
    id           TEXT   NOT NULL PRIMARY KEY,
    state        TEXT   NOT NULL,
    tenant       TEXT   NOT NULL,
    user_id      TEXT   NOT NULL,
    client_ip    TEXT   NOT NULL,
    target_id    TEXT   NOT NULL,
    target_name  TEXT   NOT NULL,
    exclusive    BIGINT NOT NULL,
    router       TEXT   NOT NULL,
    opened_at    BIGINT NOT NULL,
    expires_at   BIGINT,
    closed_at    BIGINT,
    ending       TEXT,
    bytes_out    BIGINT NOT NULL,
    bytes_in     BIGINT NOT NULL,
    body         TEXT   NOT NULL
);
CREATE INDEX session_newest ON session (opened_at, id);
CREATE INDEX session_of_user ON session (user_id, opened_at);
CREATE INDEX session_of_target ON session (target_id, opened_at);
-- Few are ongoing at a time, many are past.
CREATE INDEX session_ongoing ON session (client_ip) WHERE closed_at IS NULL;

-- Where ongoing sessions reach, so that overlap is looked up and not searched for. An address is '4' or '6' and its
-- hexadecimal digits. Gone when the session is closed.
CREATE TABLE session_range (
    session     TEXT NOT NULL,
    number      BIGINT NOT NULL,
    first       TEXT NOT NULL,
    last        TEXT NOT NULL,
    PRIMARY KEY (session, number)
);
CREATE INDEX session_range_last ON session_range (last, first);
