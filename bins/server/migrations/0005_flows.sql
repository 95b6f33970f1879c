-- Conversations of sessions that are over, as routers told of them. Kept for a time, and only so many.
CREATE TABLE flow (
    seq          BIGINT NOT NULL PRIMARY KEY,
    ended_at     BIGINT NOT NULL,
    session      TEXT   NOT NULL,
    tenant       TEXT   NOT NULL,
    user_id      TEXT   NOT NULL,
    user_name    TEXT   NOT NULL,
    target_id    TEXT   NOT NULL,
    target_name  TEXT   NOT NULL,
    router       TEXT   NOT NULL,
    protocol     BIGINT NOT NULL,
    client       TEXT   NOT NULL,
    destination  TEXT   NOT NULL,
    reached      TEXT   NOT NULL,
    bytes_out    BIGINT NOT NULL,
    bytes_in     BIGINT NOT NULL
);
CREATE INDEX flow_ended ON flow (ended_at);
CREATE INDEX flow_of_session ON flow (session, seq);
CREATE INDEX flow_of_user ON flow (user_id, seq);
CREATE INDEX flow_of_target ON flow (target_id, seq);
CREATE INDEX flow_reached ON flow (reached, ended_at);
