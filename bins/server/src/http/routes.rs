//! All routes of the API, one line each: what it is, what it needs, what it takes and gives.

use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;
use sluice_api::{
    AccessTarget, AddedDevice, ApprovalView, AskApproval, AuditEvent, ChainState, Change, ConnectorSpec,
    ConnectorState, DecideApproval, DeviceSpec, DeviceState, EndSession, EndSessions, Explain, ExplainPacket,
    Explanation, ExtendSession, FirstAdmin, FlowView, LogIn, LoggedIn, MappingSpec, MappingState, NewDevice,
    NewToken, Object, OpenSession, PacketExplanation, RoleSpec, RouterSpec, RouterState, SessionView,
    SetPassword, TargetSpec, TenantSpec, TokenSpec, TokenView, UserSpec, WhoAmI,
};
use utoipa::ToSchema;

use super::guard::{Route, authorise};
use super::objects::{self, Kept};
use super::openapi::{Param, Shape};
use super::{App, access, account, agents, audit, events, flows, openapi, sessions};
use crate::auth::permission::Action;

/// A route: one method of one path.
pub(super) struct ApiRoute {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// What it does; `None`: nobody needs to show who they are.
    pub(super) action: Option<Action>,
    pub(super) summary: &'static str,
    pub(super) params: &'static [Param],
    /// What it takes.
    pub(super) request: Option<Shape>,
    /// With which status it answers if all is well, and what it gives.
    pub(super) status: u16,
    pub(super) answer: Option<Shape>,
    /// It gives events, one after the other, for as long as one listens.
    pub(super) is_stream: bool,
    handler: MethodRouter<App>,
}

/// All of them.
pub(super) fn all() -> Vec<ApiRoute> {
    let mut routes = vec![
        get("/healthz", None, account::alive, "Whether the server runs"),
        get("/readyz", None, account::ready, "Whether it can do its work"),
        get("/api/v1/openapi.json", None, openapi::show, "This document"),
        post("/api/v1/first-admin", None, account::first_admin, "Make the first administrator")
            .takes::<FirstAdmin>()
            .with_status(204),
        post("/api/v1/login", None, account::log_in, "Log in: get a cookie, or a token if one is asked for")
            .takes::<LogIn>()
            .gives::<LoggedIn>(),
        post("/api/v1/logout", Some(Action::Account), account::log_out, "Log out").with_status(204),
        get("/api/v1/whoami", Some(Action::Account), account::who_am_i, "Who you are").gives::<WhoAmI>(),
        put("/api/v1/password", Some(Action::Credentials), account::change_password, "Change your password")
            .takes::<SetPassword>()
            .with_status(204),
        get("/api/v1/tokens", Some(Action::Credentials), account::tokens, "Your tokens, without themselves")
            .gives_page::<TokenView>(),
        post(
            "/api/v1/tokens",
            Some(Action::Credentials),
            account::make_token,
            "Make a token, shown this once",
        )
        .takes::<TokenSpec>()
        .gives::<NewToken>()
        .with_status(201),
        delete("/api/v1/tokens/{id}", Some(Action::Credentials), account::revoke_token, "Take a token back")
            .with_status(204),
        put(
            "/api/v1/users/{id}/password",
            Some(Action::SetPasswords),
            account::set_password,
            "Set a user's password, and log them out everywhere",
        )
        .takes::<SetPassword>()
        .with_status(204),
        post("/api/v1/devices", Some(Action::WriteDevices), objects::add_device, "Add a device of a user")
            .takes::<NewDevice>()
            .gives::<AddedDevice>()
            .with_status(201),
        get(
            "/api/v1/access",
            Some(Action::ReadAccess),
            access::list,
            "What you may open, and what is in the way",
        )
        .gives_page::<AccessTarget>(),
        post(
            "/api/v1/explain",
            Some(Action::Explain),
            access::explain,
            "What a request for access would get, and why",
        )
        .takes::<Explain>()
        .gives::<Explanation>(),
        post(
            "/api/v1/explain/packet",
            Some(Action::Explain),
            access::explain_packet,
            "What becomes of a packet, which rule says so, and what it is turned into",
        )
        .takes::<ExplainPacket>()
        .gives::<PacketExplanation>(),
        get(
            "/api/v1/approvals",
            Some(Action::ReadApprovals),
            access::approvals,
            "Requests for approval, newest first",
        )
        .gives_page::<ApprovalView>()
        .with(access::APPROVAL_PARAMS),
        post("/api/v1/approvals", Some(Action::AskApproval), access::ask, "Ask somebody to agree to access")
            .takes::<AskApproval>()
            .gives::<ApprovalView>()
            .with_status(201),
        post(
            "/api/v1/approvals/{id}",
            Some(Action::DecideApprovals),
            access::decide,
            "Agree to access, or do not",
        )
        .takes::<DecideApproval>()
        .gives::<ApprovalView>(),
        get("/api/v1/state/routers", Some(Action::ReadHealth), agents::routers, "How routers are")
            .gives_page::<RouterState>()
            .with(objects::PARAMS),
        get("/api/v1/state/connectors", Some(Action::ReadHealth), agents::connectors, "How connectors are")
            .gives_page::<ConnectorState>()
            .with(objects::PARAMS),
        get("/api/v1/state/mappings", Some(Action::ReadHealth), agents::mappings, "How mappings are used")
            .gives_page::<MappingState>()
            .with(objects::PARAMS),
        get("/api/v1/state/devices", Some(Action::ReadDevices), agents::devices, "How devices of users are")
            .gives_page::<DeviceState>()
            .with(objects::PARAMS),
        get("/api/v1/sessions", Some(Action::ReadSessions), sessions::list, "Sessions, newest first")
            .gives_page::<SessionView>()
            .with(sessions::PARAMS),
        post("/api/v1/sessions", Some(Action::OpenSessions), sessions::open, "Open a session")
            .takes::<OpenSession>()
            .gives::<SessionView>()
            .with(sessions::OPEN_PARAMS)
            .with_status(201),
        post(
            "/api/v1/sessions/end",
            Some(Action::EndSessions),
            sessions::end_many,
            "End all that are described",
        )
        .takes::<EndSessions>()
        .gives_page::<SessionView>(),
        get("/api/v1/sessions/{id}", Some(Action::ReadSessions), sessions::show, "A session")
            .gives::<SessionView>(),
        post(
            "/api/v1/sessions/{id}/extend",
            Some(Action::OpenSessions),
            sessions::extend,
            "Give a session more time",
        )
        .takes::<ExtendSession>()
        .gives::<SessionView>(),
        post("/api/v1/sessions/{id}/end", Some(Action::EndSessions), sessions::end, "End a session")
            .takes::<EndSession>()
            .gives::<SessionView>(),
        get(
            "/api/v1/flows",
            Some(Action::ReadSessions),
            flows::list,
            "Conversations that sessions carried and that are over, newest first",
        )
        .gives_page::<FlowView>()
        .with(flows::PARAMS),
        get("/api/v1/audit", Some(Action::ReadAudit), audit::list, "Audit events, newest first")
            .gives_page::<AuditEvent>()
            .with(audit::PARAMS),
        get("/api/v1/audit/follow", Some(Action::ReadAudit), audit::follow, "Audit events as they happen")
            .gives::<AuditEvent>()
            .with(audit::FOLLOW_PARAMS)
            .streams(),
        post(
            "/api/v1/audit/verify",
            Some(Action::VerifyAudit),
            audit::verify,
            "Verify the chain of audit events",
        )
        .gives::<ChainState>(),
        get(
            "/api/v1/events",
            Some(Action::ReadEvents),
            events::follow,
            "Changes of sessions and objects as they happen",
        )
        .gives::<Change>()
        .streams(),
    ];
    routes.extend(of_kind::<TenantSpec>());
    routes.extend(of_kind::<RoleSpec>());
    routes.extend(of_kind::<UserSpec>());
    routes.extend(of_kind::<RouterSpec>());
    routes.extend(of_kind::<DeviceSpec>());
    routes.extend(of_kind::<ConnectorSpec>());
    routes.extend(of_kind::<MappingSpec>());
    routes.extend(of_kind::<TargetSpec>());
    routes
}

/// The same routes for every kind of objects.
fn of_kind<S: Kept + ToSchema>() -> Vec<ApiRoute> {
    let (read, write) = (Some(S::READ), Some(S::WRITE));
    let mut routes = vec![
        get(S::PATH, read, objects::list::<S>, "Objects in the order of their names")
            .gives_page::<Object<S>>()
            .with(objects::PARAMS),
        get(S::ITEM, read, objects::show::<S>, "An object, by its identity or name").gives::<Object<S>>(),
        put(S::ITEM, write, objects::replace::<S>, "Replace an object")
            .takes::<S>()
            .gives::<Object<S>>()
            .with(objects::CHANGE_PARAMS),
        delete(S::ITEM, write, objects::remove::<S>, "Remove an object that nobody uses")
            .with(objects::REMOVE_PARAMS)
            .with_status(204),
    ];
    if S::IS_WRITTEN_WHOLE {
        routes.push(
            post(S::PATH, write, objects::create::<S>, "Make an object")
                .takes::<S>()
                .gives::<Object<S>>()
                .with_status(201),
        );
    }
    routes
}

fn get<T: 'static>(
    path: &'static str,
    action: Option<Action>,
    handler: impl Handler<T, App>,
    summary: &'static str,
) -> ApiRoute {
    route((Method::GET, MethodFilter::GET), path, action, handler, summary)
}

fn post<T: 'static>(
    path: &'static str,
    action: Option<Action>,
    handler: impl Handler<T, App>,
    summary: &'static str,
) -> ApiRoute {
    route((Method::POST, MethodFilter::POST), path, action, handler, summary)
}

fn put<T: 'static>(
    path: &'static str,
    action: Option<Action>,
    handler: impl Handler<T, App>,
    summary: &'static str,
) -> ApiRoute {
    route((Method::PUT, MethodFilter::PUT), path, action, handler, summary)
}

fn delete<T: 'static>(
    path: &'static str,
    action: Option<Action>,
    handler: impl Handler<T, App>,
    summary: &'static str,
) -> ApiRoute {
    route((Method::DELETE, MethodFilter::DELETE), path, action, handler, summary)
}

fn route<T: 'static>(
    (method, filter): (Method, MethodFilter),
    path: &'static str,
    action: Option<Action>,
    handler: impl Handler<T, App>,
    summary: &'static str,
) -> ApiRoute {
    ApiRoute {
        method,
        path,
        action,
        summary,
        params: &[],
        request: None,
        status: 200,
        answer: None,
        is_stream: false,
        handler: on(filter, handler),
    }
}

impl ApiRoute {
    fn takes<T: ToSchema>(self) -> ApiRoute {
        ApiRoute { request: Some(Shape::of::<T>()), ..self }
    }

    fn gives<T: ToSchema>(self) -> ApiRoute {
        ApiRoute { answer: Some(Shape::of::<T>()), ..self }
    }

    fn gives_page<T: ToSchema>(self) -> ApiRoute {
        ApiRoute { answer: Some(Shape::page_of::<T>()), ..self }
    }

    fn with_status(self, status: u16) -> ApiRoute {
        ApiRoute { status, ..self }
    }

    fn with(self, params: &'static [Param]) -> ApiRoute {
        ApiRoute { params, ..self }
    }

    fn streams(self) -> ApiRoute {
        ApiRoute { is_stream: true, ..self }
    }

    /// What serves it, behind the check of what it does.
    pub(super) fn guarded(self, app: &App) -> MethodRouter<App> {
        match self.action {
            None => self.handler,
            Some(action) => {
                let route = Route { app: app.clone(), action };
                self.handler.route_layer(from_fn_with_state(route, authorise))
            }
        }
    }
}
