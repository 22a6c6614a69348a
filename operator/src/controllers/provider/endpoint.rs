//! Where calls may go. The sidecar judges each address again after its name was
//! resolved; here a user learns of it before any call.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

/// The CRD's bound.
const MAX_LEN: usize = 512;
/// AWS serves instance metadata over IPv6 here, outside the link-local range.
const AWS_METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);
/// Alibaba Cloud's metadata service sits in the shared address space.
const ALIBABA_METADATA_V4: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
/// Names that clouds resolve to their metadata service.
const METADATA_NAMES: [&str; 4] = [
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
    "instance-data",
];

/// A URL that may be called, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseUrl(String);

/// Why a URL may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("isn't a URL: write https://host/path, without user, query or fragment")]
    NotAUrl,
    #[error("is longer than 512 characters")]
    TooLong,
    #[error("has a scheme that can't be called: use https")]
    Scheme,
    #[error(
        "is plain http to a host outside the cluster: use https, or set endpoint.insecure: true to send prompts and credentials unencrypted"
    )]
    PlainHttp,
    #[error(
        "is a link-local (metadata) address, which is always refused: use the provider's own host name"
    )]
    LinkLocal,
    #[error("isn't an address that can be called: use the provider's own host name")]
    NoUnicast,
    #[error(
        "is a loopback address, that of the app's own pod: use the provider's host name, or start the operator with --allow-loopback-upstreams"
    )]
    Loopback,
    #[error("has a host that only some resolvers take for an address: write a.b.c.d")]
    OddAddress,
}

// ------------------------------------------------------------ impl BaseUrl

impl BaseUrl {
    /// Judges `text`.
    pub(crate) fn parse(
        text: &str,
        insecure: bool,
        allow_loopback: bool,
    ) -> Result<Self, EndpointError> {
        if text.len() > MAX_LEN {
            return Err(EndpointError::TooLong);
        }
        let odd =
            |c: char| c == '#' || c == '?' || c == '\\' || c.is_whitespace() || c.is_control();
        if text.contains(odd) {
            return Err(EndpointError::NotAUrl);
        }
        let uri: Uri = text.parse().map_err(|_| EndpointError::NotAUrl)?;
        let authority = uri.authority().ok_or(EndpointError::NotAUrl)?;
        let port = authority.as_str().rsplit_once(':').map(|(_, port)| port);
        let empty_port = port == Some("") || authority.port_u16() == Some(0);
        if authority.as_str().contains('@') || authority.host().is_empty() || empty_port {
            return Err(EndpointError::NotAUrl);
        }
        let host = Host::of(authority.host());
        host.judge(allow_loopback)?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if insecure || host.is_in_cluster() => {}
            Some("http") => return Err(EndpointError::PlainHttp),
            _ => return Err(EndpointError::Scheme),
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }

    /// As it is pushed.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

enum Host {
    Ip(IpAddr),
    /// Lower case, without a dot at its end.
    Name(String),
}

// --------------------------------------------------------------- impl Host

impl Host {
    fn of(host: &str) -> Self {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(ip) => Self::Ip(ip.to_canonical()),
            Err(_) => Self::Name(bare.trim_end_matches('.').to_ascii_lowercase()),
        }
    }

    fn judge(&self, allow_loopback: bool) -> Result<(), EndpointError> {
        let loopback = match self {
            Self::Ip(ip) => {
                judge_ip(*ip)?;
                ip.is_loopback()
            }
            Self::Name(name) => {
                judge_name(name)?;
                name == "localhost" || name.ends_with(".localhost")
            }
        };
        if loopback && !allow_loopback {
            return Err(EndpointError::Loopback);
        }
        Ok(())
    }

    /// A name that only the cluster's DNS resolves, or this very machine.
    fn is_in_cluster(&self) -> bool {
        match self {
            Self::Ip(ip) => ip.is_loopback(),
            Self::Name(name) => {
                let mut labels = name.split('.');
                let first = labels.next().is_some_and(|label| !label.is_empty());
                first && (labels.clone().next().is_none() || labels.any(|label| label == "svc"))
                    || name.ends_with(".localhost")
            }
        }
    }
}

fn judge_ip(ip: IpAddr) -> Result<(), EndpointError> {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip == ALIBABA_METADATA_V4,
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip == AWS_METADATA_V6,
    };
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    if link_local {
        Err(EndpointError::LinkLocal)
    } else if ip.is_unspecified() || ip.is_multicast() || broadcast {
        Err(EndpointError::NoUnicast)
    } else {
        Ok(())
    }
}

fn judge_name(name: &str) -> Result<(), EndpointError> {
    if METADATA_NAMES.contains(&name) {
        return Err(EndpointError::LinkLocal);
    }
    // `2130706433`, `0x7f.1` and `127.1` are 127.0.0.1 to a C library.
    let last = name.rsplit('.').next().unwrap_or_default();
    let digits = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    if digits || last.starts_with("0x") {
        return Err(EndpointError::OddAddress);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> Result<String, EndpointError> {
        BaseUrl::parse(text, false, false).map(|url| url.as_str().to_owned())
    }

    #[test]
    fn https_is_taken_and_loses_its_last_slash() {
        for (text, expected) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1"),
            ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
            (
                "https://gateway.corp.example:8443",
                "https://gateway.corp.example:8443",
            ),
            ("https://10.1.2.3/v1", "https://10.1.2.3/v1"),
            (
                "https://[2606:4700::1111]/v1",
                "https://[2606:4700::1111]/v1",
            ),
        ] {
            assert_eq!(judge(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn plain_http_is_for_the_cluster_unless_it_is_asked_for() {
        for text in [
            "http://vllm/v1",
            "http://vllm:8000/v1",
            "http://vllm.models.svc/v1",
            "http://vllm.models.svc.cluster.local:8000/v1",
        ] {
            assert!(judge(text).is_ok(), "{text}");
        }
        for text in [
            "http://api.openai.com/v1",
            "http://10.1.2.3/v1",
            "http://svc.example.com",
            "http://vllm.models/v1",
        ] {
            assert_eq!(judge(text), Err(EndpointError::PlainHttp), "{text}");
            assert!(
                BaseUrl::parse(text, true, false).is_ok(),
                "{text} with insecure"
            );
        }
    }

    #[test]
    fn metadata_and_link_local_are_refused_whatever_is_set() {
        for text in [
            "https://169.254.169.254/v1",
            "http://169.254.169.254",
            "https://[fe80::1]/v1",
            "https://[::ffff:169.254.169.254]/",
            "https://[fd00:ec2::254]/",
            "https://100.100.100.200/",
            "https://metadata.google.internal/",
            "https://METADATA.google.internal./",
            "http://metadata/",
        ] {
            let judged = BaseUrl::parse(text, true, true);
            assert_eq!(judged, Err(EndpointError::LinkLocal), "{text}");
        }
    }

    #[test]
    fn loopback_needs_leave() {
        for text in [
            "http://127.0.0.1:8080/v1",
            "http://[::1]:8080",
            "http://localhost:8080/v1",
            "https://127.8.8.8",
            "http://x.localhost",
        ] {
            assert_eq!(judge(text), Err(EndpointError::Loopback), "{text}");
            assert!(
                BaseUrl::parse(text, false, true).is_ok(),
                "{text} with leave"
            );
        }
    }

    #[test]
    fn an_address_in_disguise_is_refused() {
        for text in [
            "https://2130706433/",
            "https://127.1/",
            "https://0x7f.0.0.0x1/",
            "https://0251.0376.0251.0376/",
        ] {
            assert_eq!(judge(text), Err(EndpointError::OddAddress), "{text}");
        }
        for text in [
            "https://0.0.0.0/",
            "https://[::]/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
        ] {
            assert_eq!(judge(text), Err(EndpointError::NoUnicast), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "api.openai.com/v1",
            "/v1",
            "https://",
            "https://user:pw@api.openai.com/",
            "https://api.openai.com/v1?key=x",
            "https://api.openai.com/v1#x",
            "https://api.openai.com:/v1",
            "https://api openai.com",
        ] {
            assert_eq!(judge(text), Err(EndpointError::NotAUrl), "{text}");
        }
        assert_eq!(judge("ftp://api.openai.com"), Err(EndpointError::Scheme));
        let long = format!("https://a.example/{}", "x".repeat(MAX_LEN));
        assert_eq!(judge(&long), Err(EndpointError::TooLong));
    }
}
