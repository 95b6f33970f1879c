-- The audit chain. body is the event as it was hashed, previous included; the columns beside it are for searching, and
-- verification compares them with it.
CREATE TABLE audit (
    seq       BIGINT NOT NULL PRIMARY KEY,
    at        BIGINT NOT NULL,
    number    BIGINT NOT NULL,
    action    TEXT   NOT NULL,
    actor     TEXT   NOT NULL,
    tenant    TEXT   NOT NULL,
    object    TEXT   NOT NULL,
    outcome   TEXT   NOT NULL,
    body      TEXT   NOT NULL,
    hash      TEXT   NOT NULL
);
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_of_object ON audit (object, seq);
CREATE INDEX audit_of_actor ON audit (actor, seq);
