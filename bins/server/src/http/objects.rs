//! Objects of all kinds: listed, shown, made, replaced, removed.

use axum::extract::{FromRequestParts, Path, State};
use axum::response::{IntoResponse, Response};
use base64ct::{Base64UrlUnpadded, Encoding};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use sluice_api::{
    AddedDevice, ConnectorSpec, DeviceSpec, MappingSpec, NewDevice, Object, Page, RoleSpec, RouterSpec,
    TargetSpec, TenantSpec, UserSpec,
};
use uuid::Uuid;

use super::App;
use super::body::{Json, Params, answer};
use super::openapi::Param;
use super::problem::{ApiError, ProblemKind};
use super::version::{self, Meant};
use crate::auth::permission::{Action, Permit, Reach};
use crate::engine::{Actor, Managed};
use crate::store::objects::Filter;

/// Entries of a page, if nobody says otherwise, and at most.
pub(super) const PAGE: u32 = 100;
pub(super) const PAGE_MAX: u32 = 1000;
/// How often a change that is meant for whatever is there begins anew because somebody was faster.
const TRIES: usize = 3;

pub(super) const PARAMS: &[Param] = &[
    Param::query("limit", "integer", "Entries of a page, at most 1000"),
    Param::query("cursor", "string", "What the page before gave as `next`"),
    Param::query("text", "string", "Only those whose name contains this, in either case"),
    Param::query("tenant", "string", "Only those of this tenant"),
    Param::query("naming", "string", "Only those that name the object of this identity"),
];
pub(super) const CHANGE_PARAMS: &[Param] =
    &[Param::header("If-Match", true, "The ETag of the version that is to be replaced, or *")];
pub(super) const REMOVE_PARAMS: &[Param] =
    &[Param::header("If-Match", false, "The ETag of the version that is to be removed")];

/// A kind of objects that has routes.
pub(super) trait Kept: Managed + 'static {
    /// All of them.
    const PATH: &'static str;
    /// One of them.
    const ITEM: &'static str;
    /// What seeing them needs.
    const READ: Action = Action::ReadObjects;
    /// What changing them needs.
    const WRITE: Action = Action::WriteObjects;
    /// Whether they are made with the same document that replaces them.
    const IS_WRITTEN_WHOLE: bool = true;

    /// The user whose it is, for kinds that belong to users.
    fn owner(&self) -> Option<&str> {
        None
    }
}

macro_rules! kept {
    ($spec:ty, $name:literal { $($items:tt)* }) => {
        impl Kept for $spec {
            const PATH: &'static str = concat!("/api/v1/", $name);
            const ITEM: &'static str = concat!("/api/v1/", $name, "/{id}");
            $($items)*
        }
    };
}

kept! { TenantSpec, "tenants" { const WRITE: Action = Action::WriteInstallation; } }
kept! { RoleSpec, "roles" {} }
kept! { RouterSpec, "routers" { const WRITE: Action = Action::WriteInstallation; } }
kept! { ConnectorSpec, "connectors" {} }
kept! { MappingSpec, "mappings" {} }
kept! { TargetSpec, "targets" {} }
kept! { UserSpec, "users" {} }
kept! { DeviceSpec, "devices" {
    const READ: Action = Action::ReadDevices;
    const WRITE: Action = Action::WriteDevices;
    const IS_WRITTEN_WHOLE: bool = false;

    fn owner(&self) -> Option<&str> {
        Some(&self.user)
    }
} }

/// Which object a path names: its identity or name.
pub(super) struct Which(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Which {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(which)| Which(which)).map_err(|why| {
            ApiError::new(ProblemKind::MalformedRequest, format!("the path: {}", why.body_text()))
        })
    }
}

/// Which objects to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<u32>,
    cursor: Option<String>,
    text: Option<String>,
    tenant: Option<String>,
    naming: Option<Uuid>,
}

pub(super) async fn list<S: Kept>(
    State(app): State<App>,
    permit: Permit,
    Params(query): Params<ListQuery>,
) -> Result<Response, ApiError> {
    let page = find::<S>(&app, &permit, &actor(&permit), query).await?;
    answer(StatusCode::OK, &page)
}

/// A page of those that the permit reaches to.
pub(super) async fn find<S: Kept>(
    app: &App,
    permit: &Permit,
    actor: &Actor,
    query: ListQuery,
) -> Result<Page<Object<S>>, ApiError> {
    let tenants = match &query.tenant {
        Some(name) => Some(vec![Some(app.engine().get::<TenantSpec>(actor, name).await?.id)]),
        None => None,
    };
    let mut filter = Filter { tenants, text: query.text, naming: query.naming };
    if permit.reach() == Reach::Own {
        // Only kinds that belong to users have such permits; they name their user.
        filter.naming = Some(permit.user);
    }
    let cursor = cursor_in(query.cursor.as_deref())?;
    let page = app.engine().list::<S>(actor, filter, cursor.as_deref(), page_size(query.limit)?).await?;
    let seen = |object: &Object<S>| permit.reach() != Reach::Own || object.spec.owner() == Some(&permit.name);
    let items = page.items.into_iter().filter(seen).collect();
    Ok(Page { items, next: page.next.map(|next| cursor_out(&next)) })
}

pub(super) async fn show<S: Kept>(
    State(app): State<App>,
    permit: Permit,
    Which(which): Which,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let object = seen::<S>(&app, &permit, &which).await?;
    if version::is_known(&headers, object.version) {
        return Ok((StatusCode::NOT_MODIFIED, [version::etag(object.version)]).into_response());
    }
    tagged(StatusCode::OK, &object)
}

pub(super) async fn create<S: Kept>(
    State(app): State<App>,
    permit: Permit,
    Json(spec): Json<S>,
) -> Result<Response, ApiError> {
    check_owner(&permit, &spec)?;
    let object = app.engine().create(app.now(), &actor(&permit), spec).await?;
    tagged(StatusCode::CREATED, &object)
}

pub(super) async fn replace<S: Kept>(
    State(app): State<App>,
    permit: Permit,
    Which(which): Which,
    headers: HeaderMap,
    Json(spec): Json<S>,
) -> Result<Response, ApiError> {
    let meant = version::needed(version::if_match(&headers)?)?;
    check_owner(&permit, &spec)?;
    let actor = actor(&permit);
    for tries_left in (0..TRIES).rev() {
        let before = seen::<S>(&app, &permit, &which).await?;
        let version = match meant {
            Meant::Version(version) => version,
            Meant::Any => before.version,
        };
        let id = before.id.to_string();
        match app.engine().replace(app.now(), &actor, &id, version, spec.clone()).await {
            Ok(object) => return tagged(StatusCode::OK, &object),
            Err(fault) => {
                let error = ApiError::from(fault);
                if tries_left == 0 || meant != Meant::Any || error.kind() != ProblemKind::Stale {
                    return Err(error);
                }
            }
        }
    }
    Err(ApiError::new(ProblemKind::Stale, "others change it all the time"))
}

pub(super) async fn remove<S: Kept>(
    State(app): State<App>,
    permit: Permit,
    Which(which): Which,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let version = match version::if_match(&headers)? {
        Some(Meant::Version(version)) => Some(version),
        Some(Meant::Any) | None => None,
    };
    let before = seen::<S>(&app, &permit, &which).await?;
    app.engine().delete::<S>(app.now(), &actor(&permit), &before.id.to_string(), version).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn add_device(
    State(app): State<App>,
    permit: Permit,
    Json(mut device): Json<NewDevice>,
) -> Result<Response, ApiError> {
    let user = device.user.get_or_insert_with(|| permit.name.clone());
    if !permit.reaches(user) {
        return Err(ApiError::new(ProblemKind::Denied, "you add devices of your own only"));
    }
    let (device, router) = app.engine().add_device(app.now(), &actor(&permit), device).await?;
    let etag = version::etag(device.version);
    let added = AddedDevice { device, router_public_key: router.public_key, endpoint: router.endpoint };
    let mut response = answer(StatusCode::CREATED, &added)?;
    response.headers_mut().insert(etag.0, etag.1);
    Ok(response)
}

/// Who acts, as the engine knows them.
pub(super) fn actor(permit: &Permit) -> Actor {
    Actor {
        user: Some(permit.user),
        name: permit.name.clone(),
        tenant: permit.tenant,
        right: permit.right,
        source: Some(permit.source),
    }
}

/// A page's size.
pub(super) fn page_size(asked: Option<u32>) -> Result<u32, ApiError> {
    match asked {
        None => Ok(PAGE),
        Some(limit @ 1..=PAGE_MAX) => Ok(limit),
        Some(_) => Err(ApiError::new(
            ProblemKind::MalformedRequest,
            format!("limit: a page has 1 to {PAGE_MAX} entries"),
        )),
    }
}

/// Cursors are given back as they were; what is in them is ours to change.
pub(super) fn cursor_out(place: &str) -> String {
    Base64UrlUnpadded::encode_string(place.as_bytes())
}

/// The other way round.
pub(super) fn cursor_in(cursor: Option<&str>) -> Result<Option<String>, ApiError> {
    let Some(cursor) = cursor else { return Ok(None) };
    let place = Base64UrlUnpadded::decode_vec(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let wrong = || ApiError::new(ProblemKind::MalformedRequest, "cursor: it is none that this server gave");
    place.map(Some).ok_or_else(wrong)
}

/// The object, if the permit reaches to it. What it does not reach to is as if it were not there.
async fn seen<S: Kept>(app: &App, permit: &Permit, which: &str) -> Result<Object<S>, ApiError> {
    let object = app.engine().get::<S>(&actor(permit), which).await?;
    if permit.reach() == Reach::Own && object.spec.owner() != Some(&permit.name) {
        let said = format!("there is no {} {which:?}", S::KIND.name());
        return Err(ApiError::new(ProblemKind::Unknown, said));
    }
    Ok(object)
}

fn check_owner<S: Kept>(permit: &Permit, spec: &S) -> Result<(), ApiError> {
    if permit.reach() == Reach::Own && spec.owner() != Some(&permit.name) {
        return Err(ApiError::new(ProblemKind::Denied, "you change what is your own only"));
    }
    Ok(())
}

fn tagged<S: Kept>(status: StatusCode, object: &Object<S>) -> Result<Response, ApiError> {
    let mut response = answer(status, object)?;
    let (name, value) = version::etag(object.version);
    response.headers_mut().insert(name, value);
    Ok(response)
}
