//! Free ports of the loopback, given out once each.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// An address of 127.0.0.1 that nobody listens on, and that no other caller in
/// this process was given.
///
/// The ports lie below the range from which the kernel takes those of outgoing
/// connections (32768 and up by default): a port found free by binding to 0
/// could be taken by a neighbour's connection before its server starts.
pub fn free() -> SocketAddr {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    for _ in 0..1000 {
        let port = fastrand::u16(20_000..32_000);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if !given.contains(&port) && TcpListener::bind(addr).is_ok() {
            given.insert(port);
            return addr;
        }
    }
    panic!("no free port between 20000 and 32000");
}
