//! Which addresses a call may go to, judged after the name was resolved: a
//! name that is checked once and resolved again later can be pointed elsewhere
//! in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// AWS serves instance metadata over IPv6 here, outside the link-local range.
const AWS_METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);
/// Alibaba Cloud's metadata service sits in the shared address space.
const ALIBABA_METADATA_V4: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);

/// True where a connection to `ip` is allowed.
pub(super) fn allowed(ip: IpAddr, allow_loopback: bool) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            !(ip.is_unspecified()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip == ALIBABA_METADATA_V4)
                && (allow_loopback || !ip.is_loopback())
        }
        IpAddr::V6(ip) => {
            !(ip.is_unspecified()
                || ip.is_unicast_link_local()
                || ip.is_multicast()
                || ip == AWS_METADATA_V6)
                && (allow_loopback || !ip.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(ip: &str, allow_loopback: bool) -> bool {
        allowed(ip.parse().expect("an address"), allow_loopback)
    }

    #[test]
    fn metadata_and_link_local_addresses_are_refused_in_every_spelling() {
        for ip in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(!judge(ip, true), "{ip} must be refused");
        }
    }

    #[test]
    fn loopback_needs_leave() {
        for ip in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(!judge(ip, false), "{ip} must be refused");
            assert!(judge(ip, true), "{ip} must be allowed with leave");
        }
    }

    #[test]
    fn public_and_private_addresses_are_allowed() {
        for ip in ["93.184.216.34", "10.0.0.8", "2606:4700::1111", "fd00::8"] {
            assert!(judge(ip, false), "{ip} must be allowed");
        }
    }
}
