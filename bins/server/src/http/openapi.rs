//! The OpenAPI 3.1 document, made of the table of routes and of the documents' own descriptions.

use std::any::type_name;
use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use sluice_api::Problem;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::App;
use super::routes::ApiRoute;

/// A parameter outside the path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Param {
    pub(super) name: &'static str,
    /// `query` or `header`.
    pub(super) place: &'static str,
    /// Of JSON Schema.
    pub(super) kind: &'static str,
    pub(super) required: bool,
    pub(super) what: &'static str,
}

/// The description of a document, and those of its parts.
pub(super) struct Shape {
    name: String,
    schemas: Vec<(String, Value)>,
}

impl Param {
    /// An optional one of the query.
    pub(super) const fn query(name: &'static str, kind: &'static str, what: &'static str) -> Param {
        Param { name, place: "query", kind, required: false, what }
    }

    /// A header.
    pub(super) const fn header(name: &'static str, required: bool, what: &'static str) -> Param {
        Param { name, place: "header", kind: "string", required, what }
    }
}

impl Shape {
    pub(super) fn of<T: ToSchema>() -> Shape {
        let name = name_of(type_name::<T>());
        let mut schemas = vec![(name.clone(), T::schema())];
        T::schemas(&mut schemas);
        // A description that serde cannot write would show in the test that follows every reference.
        let written = |schema: RefOr<Schema>| serde_json::to_value(schema).unwrap_or_default();
        Shape { name, schemas: schemas.into_iter().map(|(name, schema)| (name, written(schema))).collect() }
    }

    /// A page of such documents. utoipa would not name what is generic in something generic.
    pub(super) fn page_of<T: ToSchema>() -> Shape {
        let item = Shape::of::<T>();
        let page = json!({
            "type": "object",
            "description": "Some of a list, in its order.",
            "required": ["items"],
            "properties": {
                "items": { "type": "array", "items": item.reference() },
                "next": { "type": "string", "description": "Give it as `cursor` to get what comes next; absent on the last page." },
            },
        });
        let name = format!("Page_{}", item.name);
        let schemas = std::iter::once((name.clone(), page)).chain(item.schemas).collect();
        Shape { name, schemas }
    }

    fn reference(&self) -> Value {
        json!({ "$ref": format!("#/components/schemas/{}", self.name) })
    }
}

/// Sends it.
pub(super) async fn show(State(app): State<App>) -> Response {
    ([(CONTENT_TYPE, "application/json")], app.openapi()).into_response()
}

/// The document, as it is sent.
pub(super) fn document(routes: &[ApiRoute]) -> String {
    let problem = Shape::of::<Problem>();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
    for route in routes {
        let methods = paths.entry(route.path).or_default();
        methods.insert(route.method.as_str().to_ascii_lowercase(), operation(route, &problem));
        add(&mut schemas, route.request.as_ref());
        add(&mut schemas, route.answer.as_ref());
    }
    add(&mut schemas, Some(&problem));
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sluice",
            "version": "1",
            "description": "The control plane of Sluice: who may reach what, through which routers, for how long. Errors are problem documents (RFC 9457) with a stable `code`. Documents that are written refuse fields they do not know. Lists come in pages: give `next` as `cursor`. A browser that changes something sends the header X-Sluice-Csrf.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "security": [{ "token": [] }, { "cookie": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "cookie": { "type": "apiKey", "in": "cookie", "name": "__Host-sluice" },
            },
        },
    });
    format!("{document:#}\n")
}

fn operation(route: &ApiRoute, problem: &Shape) -> Value {
    let mut operation = json!({
        "summary": route.summary,
        "operationId": operation_id(route),
        "tags": [tag(route.path)],
        "responses": {
            route.status.to_string(): answer(route),
            "default": {
                "description": "What went wrong",
                "content": { "application/problem+json": { "schema": problem.reference() } },
            },
        },
    });
    let parameters: Vec<_> = in_path(route.path).chain(route.params.iter().map(parameter)).collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(request) = &route.request {
        let content = json!({ "application/json": { "schema": request.reference() } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    match route.action {
        Some(action) => operation["x-permission"] = format!("{action:?}").into(),
        None => operation["security"] = json!([]),
    }
    operation
}

fn answer(route: &ApiRoute) -> Value {
    let media = if route.is_stream { "text/event-stream" } else { "application/json" };
    match &route.answer {
        None => json!({ "description": "Done" }),
        Some(shape) => {
            let description =
                if route.is_stream { "Events, each with such a document as its data" } else { "Done" };
            json!({ "description": description, "content": { media: { "schema": shape.reference() } } })
        }
    }
}

fn in_path(path: &str) -> impl Iterator<Item = Value> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
}

fn parameter(param: &Param) -> Value {
    json!({
        "name": param.name,
        "in": param.place,
        "required": param.required,
        "description": param.what,
        "schema": { "type": param.kind },
    })
}

/// `getSessionsById`: the method and the path, as one word.
fn operation_id(route: &ApiRoute) -> String {
    let words =
        route.path.trim_start_matches("/api/v1").split(['/', '-', '.']).filter(|word| !word.is_empty());
    let words = words.map(|word| match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
        Some(name) => format!("By{}", capital(name)),
        None => capital(word),
    });
    route.method.as_str().to_ascii_lowercase() + &words.collect::<String>()
}

/// What documentation groups it under: the first word of its path.
fn tag(path: &str) -> &str {
    path.trim_start_matches("/api/v1").split('/').find(|word| !word.is_empty()).unwrap_or("server")
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

fn add(schemas: &mut BTreeMap<String, Value>, shape: Option<&Shape>) {
    for (name, schema) in shape.into_iter().flat_map(|shape| &shape.schemas) {
        schemas.entry(name.clone()).or_insert_with(|| schema.clone());
    }
}

/// `sluice_api::object::Object<sluice_api::…::RoleSpec>` is `Object_RoleSpec`, as utoipa names it in references.
fn name_of(full: &str) -> String {
    let words = full.split(['<', '>', ',', ' ']).filter(|word| !word.is_empty());
    words.map(|word| word.rsplit("::").next().unwrap_or(word)).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::http::routes;

    fn document() -> Value {
        serde_json::from_str(&super::document(&routes::all())).unwrap()
    }

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str().filter(|_| name == "$ref") {
                        Some(target) => _ = found.insert(target.to_owned()),
                        None => references(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_reference_leads_to_a_description() {
        let (document, mut found) = (document(), BTreeSet::new());
        references(&document, &mut found);
        assert!(found.len() > 30, "{found:?}");
        for target in found {
            let schema = document.pointer(target.trim_start_matches('#'));
            assert!(schema.is_some_and(|schema| schema.is_object()), "{target}");
        }
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let document = document();
        let paths = document["paths"].as_object().unwrap().values();
        let operations: Vec<_> = paths.flat_map(|methods| methods.as_object().unwrap().values()).collect();
        let names: BTreeSet<_> =
            operations.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
        assert_eq!(names.len(), operations.len());
        assert_eq!(operations.len(), routes::all().len());
    }

    /// A change of the API shows in review. `SLUICE_BLESS=1` writes the new one.
    #[test]
    fn the_document_is_the_one_that_is_kept() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        let now = super::document(&routes::all());
        if std::env::var_os("SLUICE_BLESS").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == now, "the API changed: look at it, and keep it with SLUICE_BLESS=1");
    }
}
