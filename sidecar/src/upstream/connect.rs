//! Opening one connection: name, address, TCP, TLS, within one deadline.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsConnector;

use super::address;
use super::error::UpstreamError;
use super::stream::Stream;

/// How long one address may keep the next from being tried: a host whose IPv6
/// leads nowhere then costs a quarter of a second instead of the whole timeout
/// (RFC 8305 recommends 250 ms).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// Of a name with more addresses only so many are tried.
const MAX_ADDRESSES: usize = 6;

/// Whom to connect to.
pub(super) struct Destination {
    pub(super) host: Box<str>,
    pub(super) port: u16,
    pub(super) tls: Option<(ServerName<'static>, Arc<ClientConfig>)>,
    pub(super) allow_loopback: bool,
}

impl Destination {
    /// A connection that is ready for a first request.
    pub(super) async fn connect(&self, by: Instant) -> Result<Stream, UpstreamError> {
        timeout_at(by, self.open())
            .await
            .unwrap_or(Err(UpstreamError::ConnectTimeout))
    }

    async fn open(&self) -> Result<Stream, UpstreamError> {
        let tcp = dial(&self.addresses().await?).await?;
        // Without it a chunk can wait 40 ms for the acknowledgement of the last.
        let _ = tcp.set_nodelay(true);
        let Some((name, config)) = &self.tls else {
            return Ok(Stream::Plain(tcp));
        };
        TlsConnector::from(config.clone())
            .connect(name.clone(), tcp)
            .await
            .map(|stream| Stream::Tls(Box::new(stream)))
            .map_err(UpstreamError::Tls)
    }

    /// A host that says itself that it is loopback was judged where the object
    /// was, by an operator that may have been told to allow it. Any other name
    /// can be pointed there behind everybody's back.
    fn may_be_loopback(&self) -> bool {
        let literal = self.host.parse::<IpAddr>();
        self.allow_loopback
            || literal.is_ok_and(|ip| ip.to_canonical().is_loopback())
            || *self.host == *"localhost"
            || self.host.ends_with(".localhost")
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, UpstreamError> {
        let found: Vec<SocketAddr> = if let Ok(ip) = self.host.parse::<IpAddr>() {
            vec![SocketAddr::new(ip, self.port)]
        } else {
            tokio::net::lookup_host((&*self.host, self.port))
                .await
                .map_err(|_| UpstreamError::Resolve)?
                .collect()
        };
        if found.is_empty() {
            return Err(UpstreamError::Resolve);
        }
        let allowed: Vec<_> = found
            .into_iter()
            .filter(|a| address::allowed(a.ip(), self.may_be_loopback()))
            .collect();
        if allowed.is_empty() {
            return Err(UpstreamError::Forbidden);
        }
        Ok(alternate(allowed))
    }
}

/// Alternates the families, beginning with the one the resolver put first.
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|a| a.is_ipv6() == first_is_v6);
    let mut ordered = Vec::with_capacity(MAX_ADDRESSES);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = (first.next(), second.next());
        ordered.extend(pair.0);
        ordered.extend(pair.1);
        if pair == (None, None) || ordered.len() >= MAX_ADDRESSES {
            ordered.truncate(MAX_ADDRESSES);
            return ordered;
        }
    }
}

/// The first of `addresses` that answers; a failure or a quarter of a second
/// starts the next beside it.
async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, UpstreamError> {
    let mut waiting = addresses.iter();
    let mut trying = FuturesUnordered::new();
    let mut last = io::ErrorKind::AddrNotAvailable;
    loop {
        match waiting.next() {
            Some(address) => trying.push(TcpStream::connect(*address)),
            None if trying.is_empty() => return Err(UpstreamError::Connect(last)),
            None => {}
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(tried) = trying.next() => match tried {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error.kind(),
            },
            () = sleep(NEXT_ADDRESS_AFTER), if more => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_must_be_allowed_or_be_what_the_base_url_says() {
        let may = |host: &str, allow_loopback| {
            let destination = Destination {
                host: host.into(),
                port: 80,
                tls: None,
                allow_loopback,
            };
            destination.may_be_loopback()
        };
        for host in ["127.0.0.1", "127.8.0.1", "::1", "localhost", "a.localhost"] {
            assert!(may(host, false), "{host}");
        }
        for host in [
            "api.example.com",
            "localhost.example.com",
            "169.254.169.254",
        ] {
            assert!(!may(host, false), "{host}");
            assert!(may(host, true), "{host}");
        }
    }

    #[test]
    fn families_alternate_from_the_resolvers_choice() {
        let parse = |s: &str| s.parse::<SocketAddr>().expect("an address");
        let ordered = alternate(vec![
            parse("[2001:db8::1]:1"),
            parse("[2001:db8::2]:1"),
            parse("192.0.2.1:1"),
        ]);
        let ordered: Vec<_> = ordered.iter().map(ToString::to_string).collect();
        assert_eq!(
            ordered,
            ["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1"]
        );
    }
}
