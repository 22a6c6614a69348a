//! Where calls may go. The sidecar judges each address again after its name was
//! resolved; here a user learns of it before any call.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

use crate::controllers::Options;

/// The CRD's bound.
const MAX_LEN: usize = 512;
/// Of a name in DNS, and of a label of it.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;
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
    #[error("has no host that can be: write a name such as llm.example.com, a.b.c.d or [IPv6]")]
    Host,
    #[error("has no port that can be: write 1 to 65535, or leave it out")]
    Port,
    #[error("has a % in its path without two hexadecimal digits behind it: write %25 for a %")]
    Path,
    #[error("has a host that only some resolvers take for an address: write a.b.c.d")]
    OddAddress,
}

// ------------------------------------------------------------ impl BaseUrl

impl BaseUrl {
    /// Judges `text`.
    pub(crate) fn parse(
        text: &str,
        insecure: bool,
        options: &Options,
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
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(EndpointError::NotAUrl);
        }
        let host = Host::of(authority.host()).ok_or(EndpointError::Host)?;
        judge_port(&authority.as_str()[authority.host().len()..])?;
        judge_path(uri.path())?;
        host.judge(options.allow_loopback)?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if insecure || host.is_in_cluster(&options.cluster_domain) => {}
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
    /// `None` for what is neither.
    fn of(host: &str) -> Option<Self> {
        if let Some(bracketed) = host.strip_prefix('[') {
            let ip: Ipv6Addr = bracketed.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Ip(IpAddr::V6(ip).to_canonical()));
        }
        if let Ok(ip) = host.parse() {
            return Some(Self::Ip(IpAddr::V4(ip)));
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let whole = name.len() <= MAX_NAME && name.split('.').all(is_label);
        whole.then_some(Self::Name(name))
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

    /// A name that only the cluster's DNS resolves, or this very machine. `svc`
    /// anywhere else in a name says nothing: whoever owns the domain chose it.
    fn is_in_cluster(&self, domain: &str) -> bool {
        let name = match self {
            Self::Ip(ip) => return ip.is_loopback(),
            Self::Name(name) => name,
        };
        let of_domain = name
            .strip_suffix(&domain.to_ascii_lowercase())
            .and_then(|rest| rest.strip_suffix('.'));
        let service = of_domain.unwrap_or(name).strip_suffix(".svc");
        !name.contains('.')
            || name.ends_with(".localhost")
            || service.is_some_and(|service| service.contains('.'))
    }
}

/// Of a host's name. DNS knows no underscore, but its resolvers do.
fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// What is behind the host: nothing, or a colon and the port.
fn judge_port(rest: &str) -> Result<(), EndpointError> {
    let Some(port) = rest.strip_prefix(':') else {
        return rest.is_empty().then_some(()).ok_or(EndpointError::NotAUrl);
    };
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    let port = port.parse::<u16>().ok().filter(|port| *port > 0 && digits);
    port.map(|_| ()).ok_or(EndpointError::Port)
}

fn judge_path(path: &str) -> Result<(), EndpointError> {
    let whole = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let whole = path.split('%').skip(1).all(whole);
    whole.then_some(()).ok_or(EndpointError::Path)
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
        BaseUrl::parse(text, false, &Options::default()).map(|url| url.as_str().to_owned())
    }

    fn with_loopback() -> Options {
        Options {
            allow_loopback: true,
            ..Options::default()
        }
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
            "http://vllm-0.vllm.models.svc.cluster.local./v1",
            "http://VLLM.models.SVC/v1",
        ] {
            assert!(judge(text).is_ok(), "{text}");
        }
        for text in [
            "http://api.openai.com/v1",
            "http://10.1.2.3/v1",
            "http://svc.example.com",
            "http://vllm.models/v1",
            "http://a.svc.evil.com/v1",
            "http://a.b.svc.evil.com/v1",
            "http://a.b.svc.cluster.local.evil.com/v1",
            "http://a.b.svc.evilcluster.local/v1",
            "http://a.b.svc.corp.example/v1",
            "http://a.svc/v1",
            "http://svc.cluster.local/v1",
            "http://a.b.cluster.local/v1",
        ] {
            assert_eq!(judge(text), Err(EndpointError::PlainHttp), "{text}");
            assert!(
                BaseUrl::parse(text, true, &Options::default()).is_ok(),
                "{text} with insecure"
            );
        }
    }

    #[test]
    fn the_clusters_own_domain_is_in_the_cluster() {
        let options = Options {
            cluster_domain: "corp.example".to_owned(),
            ..Options::default()
        };
        let judge = |text| BaseUrl::parse(text, false, &options).map(|_| ());
        assert_eq!(judge("http://a.b.svc.corp.example/v1"), Ok(()));
        assert_eq!(judge("http://a.b.svc/v1"), Ok(()));
        let elsewhere = judge("http://a.b.svc.cluster.local/v1");
        assert_eq!(elsewhere, Err(EndpointError::PlainHttp));
    }

    #[test]
    fn what_no_resolver_and_no_socket_takes_is_refused() {
        let long = format!("https://{}.com/", "a".repeat(MAX_LABEL + 1));
        let longer = format!("https://{}com/", "abc.".repeat(63));
        for text in [
            "https://../",
            "https://..",
            "https://./",
            "https://-",
            "https://-a.com/",
            "https://a-.com/",
            "https://a..b/",
            "https://a.com../",
            "https://[:::]/",
            "https://[a.com]/",
            "https://[127.0.0.1]/",
            long.as_str(),
            longer.as_str(),
        ] {
            let judged = judge(text);
            let refused = [Err(EndpointError::Host), Err(EndpointError::NotAUrl)];
            assert!(refused.contains(&judged), "{text}: {judged:?}");
        }
        for text in [
            "https://x.com:99999/",
            "https://x.com:65536",
            "https://x.com:0/",
            "https://x.com:/v1",
            "https://x.com:+80/v1",
            "https://[2606:4700::1111]:99999/",
        ] {
            let judged = judge(text);
            let refused = [Err(EndpointError::Port), Err(EndpointError::NotAUrl)];
            assert!(refused.contains(&judged), "{text}: {judged:?}");
        }
        for text in ["https://x.com/%zz", "https://x.com/a%2", "https://x.com/%"] {
            assert_eq!(judge(text), Err(EndpointError::Path), "{text}");
        }
        for text in [
            "https://a_b.example.com.:65535/a%2Fb",
            "https://xn--bcher-kva.example/v1",
        ] {
            assert!(judge(text).is_ok(), "{text}");
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
            let judged = BaseUrl::parse(text, true, &with_loopback());
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
                BaseUrl::parse(text, false, &with_loopback()).is_ok(),
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
            "https://api openai.com",
        ] {
            assert_eq!(judge(text), Err(EndpointError::NotAUrl), "{text}");
        }
        assert_eq!(judge("ftp://api.openai.com"), Err(EndpointError::Scheme));
        let long = format!("https://a.example/{}", "x".repeat(MAX_LEN));
        assert_eq!(judge(&long), Err(EndpointError::TooLong));
    }
}
