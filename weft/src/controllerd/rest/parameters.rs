//! The served document says which parameters an operation has; others are refused, whatever the handler would do.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use controller_api::Problem;
use serde_json::{Value, json};

use crate::controllerd::problem::Refusal;

/// Names of query parameters by method and path.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<HashMap<(Method, String), HashSet<String>>>);

/// What the operations of a document have.
pub fn known(document: &Value) -> Known {
    let mut known = HashMap::new();
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let names = parameters.filter(|p| p["in"] == "query").filter_map(|p| p["name"].as_str());
            known.insert((method, path.clone()), names.map(str::to_owned).collect());
        }
    }
    Known(Arc::new(known))
}

/// Every operation may answer with a problem. A parameter of which nothing else is said is a text.
pub fn complete(document: &mut Value) {
    let problem = json!({
        "description": "What is wrong (RFC 9457)",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    });
    for (_, operations) in document["paths"].as_object_mut().into_iter().flatten() {
        for (_, operation) in operations.as_object_mut().into_iter().flatten() {
            operation["responses"]["default"] = problem.clone();
            // OpenAPI 3.1 §4.8.17: each answer has a description.
            for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
                let status = status.parse::<u16>().ok().and_then(|status| StatusCode::from_u16(status).ok());
                let words = status.and_then(|status| status.canonical_reason()).unwrap_or_default();
                if response["description"].as_str().is_none_or(str::is_empty) {
                    response["description"] = json!(words);
                }
            }
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            let parameters = parameters.into_iter().flatten();
            for parameter in parameters.filter(|parameter| parameter.get("schema").is_none()) {
                parameter["schema"] = json!({"type": "string"});
            }
        }
    }
}

/// Refuses parameters that an operation does not have, and those that are given twice.
///
/// # Errors
/// 400 with the name of the parameter.
pub async fn check(
    State(known): State<Known>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    // Without a path there is no resource, which says more than any parameter.
    let Some(template) = path else { return Ok(next.run(request).await) };
    let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    let names = known.0.get(&(method, template.as_str().to_owned()));
    let mut seen = HashSet::new();
    for pair in request.uri().query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or(pair);
        let path = request.uri().path();
        if !names.is_some_and(|names| names.contains(name)) {
            return Err(Problem::bad_request(format!("{path} has no parameter \"{name}\"")).into());
        }
        if !seen.insert(name) {
            return Err(Problem::bad_request(format!("parameter \"{name}\" is given twice")).into());
        }
    }
    Ok(next.run(request).await)
}
