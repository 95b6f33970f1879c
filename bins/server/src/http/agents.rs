//! How routers, connectors, mappings and devices are: what is stored of them, with what they say of themselves while connected.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use sluice_api::{
    ConnectorSpec, ConnectorState, DeviceSpec, DeviceState, MappingSpec, MappingState, Object, Page,
    RouterSpec, RouterState,
};

use super::App;
use super::body::{Params, answer};
use super::objects::{Kept, ListQuery, actor, find};
use super::problem::ApiError;
use crate::auth::permission::Permit;
use crate::control::AgentState;

pub(super) async fn routers(
    State(app): State<App>,
    permit: Permit,
    Params(query): Params<ListQuery>,
) -> Result<Response, ApiError> {
    states::<RouterSpec, _>(&app, &permit, query, |router| {
        let state = app.agent(router.id);
        RouterState {
            name: router.spec.name.clone(),
            connected: state.connected,
            generation_wanted: state.wanted,
            generation_applied: state.applied,
            heard: state.heard,
            software: state.software,
            problem: state.problem,
        }
    })
    .await
}

pub(super) async fn connectors(
    State(app): State<App>,
    permit: Permit,
    Params(query): Params<ListQuery>,
) -> Result<Response, ApiError> {
    states::<ConnectorSpec, _>(&app, &permit, query, |connector| {
        let AgentState { connected, heard, software, handshake, .. } = app.agent(connector.id);
        let age = handshake.map(|at| app.now().duration_since(at).as_secs());
        ConnectorState {
            name: connector.spec.name.clone(),
            enrolled: connector.spec.public_key.is_some(),
            connected,
            handshake_age: age.map(|age| u64::try_from(age).unwrap_or(0)),
            heard,
            software,
        }
    })
    .await
}

pub(super) async fn mappings(
    State(app): State<App>,
    permit: Permit,
    Params(query): Params<ListQuery>,
) -> Result<Response, ApiError> {
    let actor = actor(&permit);
    let page = find::<MappingSpec>(&app, &permit, &actor, query).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for mapping in page.items {
        let virtual_port = mapping.spec.virtual_port.unwrap_or_default();
        // Two tenants may call theirs alike: then the name alone does not say which it is.
        let last_used = match app.engine().get::<ConnectorSpec>(&actor, &mapping.spec.connector).await {
            Ok(connector) => app.engine().last_used(&connector.spec.addresses, virtual_port).await?,
            Err(_) => None,
        };
        items.push(MappingState { name: mapping.spec.name, virtual_port, last_used });
    }
    answer(StatusCode::OK, &Page { items, next: page.next })
}

pub(super) async fn devices(
    State(app): State<App>,
    permit: Permit,
    Params(query): Params<ListQuery>,
) -> Result<Response, ApiError> {
    states::<DeviceSpec, _>(&app, &permit, query, |device| DeviceState {
        name: device.spec.name.clone(),
        user: device.spec.user.clone(),
        client_ip: device.spec.client_ip,
        heard: app.engine().heard_at(device.spec.client_ip),
    })
    .await
}

/// A page of objects, each shown by how it is.
async fn states<S: Kept, T: Serialize>(
    app: &App,
    permit: &Permit,
    query: ListQuery,
    state_of: impl Fn(&Object<S>) -> T,
) -> Result<Response, ApiError> {
    let page = find::<S>(app, permit, &actor(permit), query).await?;
    answer(StatusCode::OK, &Page { items: page.items.iter().map(state_of).collect(), next: page.next })
}
