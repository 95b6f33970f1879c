-- Several servers on one database.

-- Servers that are at work. id: that of its embedded router; life: drawn anew at each start; beat: one more with each sign of
-- life. Whoever sees no beat for a while, by a clock of its own, takes over what that server led.
CREATE TABLE server (
    id    TEXT   NOT NULL PRIMARY KEY,
    life  TEXT   NOT NULL,
    beat  BIGINT NOT NULL
);

-- Which server leads a router or connector: one. ready: it is connected, and has what it is to have.
CREATE TABLE lead (
    agent   TEXT   NOT NULL PRIMARY KEY,
    server  TEXT   NOT NULL,
    ready   BIGINT NOT NULL
);

-- When clients' tunnels were last heard, by whichever server.
CREATE TABLE client_heard (
    client_ip  TEXT   NOT NULL PRIMARY KEY,
    heard_at   BIGINT NOT NULL
);
