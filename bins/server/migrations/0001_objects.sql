-- Identities are UUIDs in lower-case text; moments are microseconds since 1970, UTC; a flag is 0 or 1.
-- One schema for SQLite and PostgreSQL: only BIGINT and TEXT.

-- What administrators write: tenants, roles, users, devices of users, routers, targets, connectors, device mappings.
-- body is the document as the API shows it; tenant is '' for what belongs to the whole installation.
CREATE TABLE object (
    id          TEXT   NOT NULL PRIMARY KEY,
    kind        TEXT   NOT NULL,
    tenant      TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    version     BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    author      TEXT   NOT NULL,
    updated_at  BIGINT NOT NULL,
    updated_by  TEXT   NOT NULL,
    body        TEXT   NOT NULL,
    UNIQUE (kind, tenant, name)
);
CREATE INDEX object_in_order ON object (kind, name, id);

-- Who names whom, and in which field; what is named can be neither deleted nor renamed.
CREATE TABLE reference (
    source  TEXT NOT NULL,
    field   TEXT NOT NULL,
    object  TEXT NOT NULL,
    PRIMARY KEY (source, field)
);
CREATE INDEX reference_of ON reference (object);

-- What only one may have: 'address' inside the tunnels, 'key' of WireGuard.
CREATE TABLE claim (
    what    TEXT NOT NULL,
    value   TEXT NOT NULL,
    owner   TEXT NOT NULL,
    PRIMARY KEY (what, value)
);
CREATE INDEX claim_of ON claim (owner);

-- Virtual ports that are in use (released_at is null) or in quarantine.
CREATE TABLE virtual_port (
    connector    TEXT   NOT NULL,
    port         BIGINT NOT NULL,
    mapping      TEXT,
    released_at  BIGINT,
    PRIMARY KEY (connector, port)
);

-- What this installation is: its identity, the version of what it last wrote.
CREATE TABLE setting (
    name   TEXT NOT NULL PRIMARY KEY,
    value  TEXT NOT NULL
);
