-- Whatever is asked about ongoing sessions is answered from them alone, however many are past.
CREATE INDEX session_ongoing_user ON session (user_id) WHERE closed_at IS NULL;
CREATE INDEX session_ongoing_target ON session (target_id) WHERE closed_at IS NULL;
CREATE INDEX session_ongoing_router ON session (router) WHERE closed_at IS NULL;
CREATE INDEX session_ongoing_newest ON session (opened_at, id) WHERE closed_at IS NULL;
CREATE INDEX session_expiring ON session (expires_at) WHERE closed_at IS NULL;
-- Lists of a tenant, newest first.
CREATE INDEX session_of_tenant ON session (tenant, opened_at, id);
CREATE INDEX audit_of_tenant ON audit (tenant, seq);
CREATE INDEX approval_waiting ON approval (asked_at) WHERE granted IS NULL;
