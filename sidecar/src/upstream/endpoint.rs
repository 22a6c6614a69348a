//! One place that calls can be sent to, and the list of those in use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use rustls::pki_types::ServerName;
use tokio::time::Instant;

use super::body::{RequestBody, UpstreamBody};
use super::connect::Destination;
use super::error::UpstreamError;
use super::h1::H1;
use super::pool::{Lease, Pool};
use super::tls::{BundleError, Configs};

/// Why a base URL can't be called.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not an absolute URL.
    #[error("not an absolute http or https URL")]
    Malformed,
    /// Credentials in a URL end up in logs.
    #[error("a URL must not hold a user name or password")]
    UserInfo,
    /// A query can't stand before the path of a call.
    #[error("a base URL must not hold a query")]
    Query,
    /// The private CA bundle can't be used.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Every endpoint in use, by what may be shared: scheme, host, port, bundle.
pub struct Upstreams {
    allow_loopback: bool,
    tls: Configs,
    pools: Mutex<HashMap<PoolKey, Weak<Pool>>>,
}

/// Credentials aren't part of it: they travel with each request, and a provider
/// ties none of them to a connection.
#[derive(Clone, PartialEq, Eq, Hash)]
struct PoolKey {
    secure: bool,
    host: Box<str>,
    port: u16,
    ca_pem: Box<str>,
}

/// A base URL with its pool. Two base URLs on one host share the pool.
pub struct Endpoint {
    /// Scheme-relative: HTTP/1.1 wants only the path, HTTP/2 all of it.
    scheme: Scheme,
    authority: Authority,
    base_path: Box<str>,
    host: HeaderValue,
    pool: Arc<Pool>,
}

// ---------------------------------------------------------------- impl Upstreams

impl Upstreams {
    /// An empty list. `allow_loopback` is for laptops and tests: in a pod,
    /// loopback belongs to the application and to this sidecar itself.
    pub fn new(allow_loopback: bool) -> Self {
        Self {
            allow_loopback,
            tls: Configs::default(),
            pools: Mutex::default(),
        }
    }

    /// The endpoint of `base_url`, trusting `ca_pem` (empty: the public roots).
    /// Called when config is compiled, never by a request.
    pub fn endpoint(&self, base_url: &str, ca_pem: &str) -> Result<Endpoint, EndpointError> {
        let uri: Uri = base_url.parse().map_err(|_| EndpointError::Malformed)?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(EndpointError::Malformed);
        };
        if authority.as_str().contains('@') {
            return Err(EndpointError::UserInfo);
        }
        let path = parts
            .path_and_query
            .unwrap_or(PathAndQuery::from_static("/"));
        if path.query().is_some() {
            return Err(EndpointError::Query);
        }
        let secure = scheme == Scheme::HTTPS;
        if !secure && scheme != Scheme::HTTP {
            return Err(EndpointError::Malformed);
        }
        let pool = self.pool(secure, &authority, ca_pem)?;
        Ok(Endpoint {
            host: HeaderValue::from_str(authority.as_str())
                .map_err(|_| EndpointError::Malformed)?,
            base_path: path.path().trim_end_matches('/').into(),
            scheme,
            authority,
            pool,
        })
    }

    fn pool(
        &self,
        secure: bool,
        authority: &Authority,
        ca_pem: &str,
    ) -> Result<Arc<Pool>, EndpointError> {
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host)
            .to_ascii_lowercase();
        if host.is_empty() {
            return Err(EndpointError::Malformed);
        }
        let key = PoolKey {
            secure,
            port: authority
                .port_u16()
                .unwrap_or(if secure { 443 } else { 80 }),
            host: host.into(),
            // Without TLS a bundle means nothing.
            ca_pem: if secure { ca_pem.into() } else { "".into() },
        };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&key).and_then(Weak::upgrade) {
            return Ok(pool);
        }
        let tls = if secure {
            let name =
                ServerName::try_from(key.host.to_string()).map_err(|_| EndpointError::Malformed)?;
            Some((name, self.tls.get(ca_pem)?))
        } else {
            None
        };
        let pool = Arc::new(Pool::new(Destination {
            host: key.host.clone(),
            port: key.port,
            tls,
            allow_loopback: self.allow_loopback,
        }));
        pools.retain(|_, pool| pool.strong_count() > 0);
        pools.insert(key, Arc::downgrade(&pool));
        Ok(pool)
    }
}

// ---------------------------------------------------------------- impl Endpoint

impl Endpoint {
    /// The target of a call to `path` (with its leading slash) below the base
    /// URL. Joined when config is compiled: a request clones it.
    pub fn uri(&self, path: &str) -> Result<Uri, EndpointError> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.base_path))
            .build()
            .map_err(|_| EndpointError::Malformed)
    }

    /// Sends a call and waits for the head of the answer. The URI is one made by
    /// [`Self::uri`]. There is a deadline for connecting only: whoever calls
    /// bounds the rest by dropping the future, which cancels the call.
    ///
    /// A connection that was used before may have been closed by the peer in
    /// the very moment; then the call is made once more on a new one, and the
    /// request is asked for again instead of being copied beforehand.
    pub async fn call(
        &self,
        request: impl Fn() -> Request<RequestBody>,
        connect_by: Instant,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        let (mut connection, reused) = match self.pool.lease(connect_by).await? {
            Lease::H2(slot) => return Box::pin(self.call_h2(slot, request())).await,
            Lease::H1 { connection, reused } => (connection, reused),
        };
        let answer = connection.call(self.to_origin_form(request())).await;
        match answer {
            Ok(answer) => Ok(self.carried(answer, connection)),
            // Without a byte of an answer on a connection that had been idle,
            // the peer had closed it before it saw the request.
            Err(UpstreamError::Closed) if reused => {
                drop(connection);
                Box::pin(self.call_afresh(request(), connect_by)).await
            }
            Err(error) => Err(error),
        }
    }

    async fn call_afresh(
        &self,
        request: Request<RequestBody>,
        connect_by: Instant,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        match self.pool.fresh(connect_by).await? {
            Lease::H2(slot) => self.call_h2(slot, request).await,
            Lease::H1 { mut connection, .. } => {
                let answer = connection.call(self.to_origin_form(request)).await?;
                Ok(self.carried(answer, connection))
            }
        }
    }

    async fn call_h2(
        &self,
        slot: super::h2::Slot,
        request: Request<RequestBody>,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        let answer = slot.call(request).await?;
        Ok(answer.map(|incoming| UpstreamBody::h2(incoming, slot)))
    }

    fn carried(&self, answer: Response<Incoming>, connection: Box<H1>) -> Response<UpstreamBody> {
        answer.map(|incoming| UpstreamBody::h1(incoming, connection, self.pool.clone()))
    }

    fn to_origin_form(&self, mut request: Request<RequestBody>) -> Request<RequestBody> {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
        request.headers_mut().insert(HOST, self.host.clone());
        request
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.base_path)
    }
}
