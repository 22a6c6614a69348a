//! A TCP relay between two parties that a test can cut, and turn elsewhere.
//!
//! Cut is what a lost network is: connections stay open and nothing comes
//! through any more, in either direction. Turned, new connections reach the new
//! target and those that are there stay, as a Service does it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The relay; it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    target: Option<SocketAddr>,
    cut: bool,
}

// ---------------------------------------------------------------- impl Proxy

impl Proxy {
    /// A relay on a free port of the loopback.
    pub async fn start(target: Option<SocketAddr>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(watch::Sender::new(State { target, cut: false }));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nothing comes through any more; connections stay open.
    pub fn cut(&self) {
        self.state.send_modify(|s| s.cut = true);
    }

    /// What was held back comes through again.
    pub fn mend(&self) {
        self.state.send_modify(|s| s.cut = false);
    }

    /// New connections reach `target`; without one they are refused.
    pub fn turn(&self, target: Option<SocketAddr>) {
        self.state.send_modify(|s| s.target = target);
    }
}

async fn accept(listener: TcpListener, state: Arc<watch::Sender<State>>) {
    let mut relays = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let state = state.subscribe();
        relays.spawn(async move {
            // A relay that breaks is seen at its ends.
            let _ = relay(client, state).await;
        });
        while relays.try_join_next().is_some() {}
    }
}

async fn relay(client: TcpStream, mut state: watch::Receiver<State>) -> Result<()> {
    open(&mut state).await?;
    let target = state.borrow().target.context("no target")?;
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut client_read, mut client_write) = client.into_split();
    let (mut server_read, mut server_write) = server.into_split();
    let mut other = state.clone();
    let (up, down) = tokio::join!(
        copy(&mut client_read, &mut server_write, &mut state),
        copy(&mut server_read, &mut client_write, &mut other),
    );
    up.and(down)
}

async fn copy(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    state: &mut watch::Receiver<State>,
) -> Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = from.read(&mut buffer).await.unwrap_or(0);
        open(state).await?;
        if n == 0 {
            return Ok(to.shutdown().await?);
        }
        to.write_all(&buffer[..n]).await?;
    }
}

/// Waits while the relay is cut.
async fn open(state: &mut watch::Receiver<State>) -> Result<()> {
    state.wait_for(|s| !s.cut).await?;
    Ok(())
}
