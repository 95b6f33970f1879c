//! Who does something, and how far their rights reach.

use std::net::IpAddr;

use sluice_api::Right;
use uuid::Uuid;

/// Who does something. Whether they may is decided before; here it says what they can see, and whom the audit names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    /// Which user; `None`: the server itself.
    pub(crate) user: Option<Uuid>,
    /// As the audit names them.
    pub(crate) name: String,
    /// In which tenant; `None`: in the installation, so in all.
    pub(crate) tenant: Option<Uuid>,
    /// What they may do.
    pub(crate) right: Right,
    /// Where the request came from.
    pub(crate) source: Option<IpAddr>,
}

impl Actor {
    /// The server itself.
    pub(crate) fn system() -> Actor {
        Actor { user: None, name: "system".to_owned(), tenant: None, right: Right::Admin, source: None }
    }

    /// The tenants whose objects they see; `None`: all, and the installation's.
    pub(crate) fn tenants(&self) -> Option<Vec<Option<Uuid>>> {
        self.tenant.map(|tenant| vec![Some(tenant)])
    }

    /// Whether what belongs to this tenant exists for them.
    pub(crate) fn sees(&self, tenant: Option<Uuid>) -> bool {
        self.tenant.is_none() || self.tenant == tenant
    }

    /// Whether they see sessions of others.
    pub(crate) fn sees_others(&self) -> bool {
        match self.right {
            Right::User => false,
            Right::Auditor | Right::TenantAdmin | Right::Admin => true,
        }
    }
}
