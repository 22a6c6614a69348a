//! An API server of a few lines, in memory, for unit tests: objects by path,
//! resourceVersions, conflicts, lists, merge patches, and a switch that cuts
//! it off. What it doesn't do is tried against the real one in `tests`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

#[derive(Clone, Default)]
pub(crate) struct FakeApi(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    conflicts: usize,
    cut: bool,
}

impl FakeApi {
    pub(crate) fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                if api.state().cut {
                    std::future::pending::<()>().await;
                }
                let (head, body) = request.into_parts();
                let body = body.collect().await.expect("in memory").to_bytes();
                let (status, value) = api.answer(&head.method, head.uri.path(), &body);
                let body = serde_json::to_vec(&value).expect("a value serialises");
                let response = Response::builder().status(status);
                let body = Full::new(Bytes::from(body));
                Ok::<_, Infallible>(response.body(body).expect("a response"))
            }
        });
        Client::new(service, "default")
    }

    pub(crate) fn put(&self, collection: &str, object: Value) {
        let name = object["metadata"]["name"].as_str().expect("a name");
        let path = format!("{collection}/{name}");
        self.state().store(&path, object);
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    /// How many objects a collection holds.
    pub(crate) fn count(&self, collection: &str) -> usize {
        let prefix = format!("{collection}/");
        let state = self.state();
        state
            .objects
            .keys()
            .filter(|path| path.starts_with(&prefix))
            .count()
    }

    /// A member of each object of a collection, as text.
    pub(crate) fn fields(&self, collection: &str, name: &str) -> Vec<String> {
        let list = self.state().list(collection);
        let items = list["items"].as_array().into_iter().flatten();
        items
            .map(|object| object[name].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Answers a GET of `path` with `value`, which is no object.
    pub(crate) fn serve(&self, path: &str, value: Value) {
        self.state().objects.insert(path.to_owned(), value);
    }

    pub(crate) fn delete(&self, path: &str) {
        self.state().objects.remove(path);
    }

    pub(crate) fn conflict_next_write(&self) {
        self.state().conflicts = 1;
    }

    /// While cut off, no call is answered.
    pub(crate) fn cut(&self, cut: bool) {
        self.state().cut = cut;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, method: &Method, path: &str, body: &[u8]) -> (StatusCode, Value) {
        let mut state = self.state();
        let path = path.strip_suffix("/status").unwrap_or(path);
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        if method != Method::GET && state.conflicts > 0 {
            state.conflicts -= 1;
            return refusal(StatusCode::CONFLICT);
        }
        match *method {
            Method::GET => match state.objects.get(path) {
                Some(object) => (StatusCode::OK, object.clone()),
                None if path.ends_with('s') => (StatusCode::OK, state.list(path)),
                None => refusal(StatusCode::NOT_FOUND),
            },
            Method::POST => {
                let name = sent["metadata"]["name"].as_str().unwrap_or_default();
                let path = format!("{path}/{name}");
                if state.objects.contains_key(&path) {
                    return refusal(StatusCode::CONFLICT);
                }
                (StatusCode::CREATED, state.store(&path, sent))
            }
            Method::PUT => match state.objects.get(path) {
                Some(old)
                    if old["metadata"]["resourceVersion"]
                        != sent["metadata"]["resourceVersion"] =>
                {
                    refusal(StatusCode::CONFLICT)
                }
                Some(_) => (StatusCode::OK, state.store(path, sent)),
                None => refusal(StatusCode::NOT_FOUND),
            },
            Method::PATCH => match state.objects.get(path).cloned() {
                Some(mut object) => {
                    merge(&mut object, &sent);
                    (StatusCode::OK, state.store(path, object))
                }
                None => refusal(StatusCode::NOT_FOUND),
            },
            _ => refusal(StatusCode::METHOD_NOT_ALLOWED),
        }
    }
}

impl State {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    /// All of a collection: the tests store nothing that a selector would leave out.
    fn list(&self, path: &str) -> Value {
        let prefix = format!("{path}/");
        let items: Vec<_> = self
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with(&prefix))
            .map(|(_, object)| object.clone())
            .collect();
        json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": items })
    }
}

fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            object.as_object_mut().expect("made one").remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}

fn refusal(status: StatusCode) -> (StatusCode, Value) {
    // The client tells "isn't there" by the reason, not by the code.
    let reason = match status {
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::CONFLICT => "Conflict",
        _ => "MethodNotAllowed",
    };
    let value = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": status.as_u16(), "reason": reason, "message": "refused",
    });
    (status, value)
}
