//! The stand-in application: one small server that behaves like the containers of an example.
//!
//! Every answer names the pod and the version that gave it (`HOSTNAME:VERSION`, and the headers `x-pod` and
//! `x-version`), so that a client can count who served. What it can do beyond that is chosen by path:
//!
//! | Path | Answer |
//! |---|---|
//! | `/delay/MS` | hello after so many milliseconds |
//! | `/status/CODE[?rate=R]` | that status; with a rate only that exact share, the rest 200 |
//! | `/headers` | the request as JSON: method, path, headers, client address, TLS facts |
//! | `/echo` | the body as it arrives, trailers included, with the method in `x-echo-method` |
//! | `/stream/N/MS` | N lines, MS milliseconds apart |
//! | `/bytes/N` | N bytes |
//! | `/counts`, `/counts/reset` | what this instance has served so far, as JSON |
//! | `/admin/fail?status=S&rate=R[&path=/P]` | from now on that share of the requests (of that path) answers S |
//! | anything else | hello; the path as received is in `x-path` |
//!
//! `?delay=MS` delays any answer. gRPC requests are echoed message by message, `grpc.health.v1.Health/Check` says
//! SERVING, `Upgrade: websocket` gets an echoing WebSocket. Ports can also speak TLS or plain TCP
//! ([`args::Protocol`]). It keeps to one thread and starts in a few milliseconds.

pub mod args;
mod body;
mod counts;
mod failure;
mod grpc;
mod http;
mod inspect;
mod lifecycle;
mod listen;
mod tcp;
mod tls;
mod websocket;

use std::sync::{Arc, Mutex};

use anyhow::Context;

pub use args::{Args, PortSpec, Protocol};

/// What all connections of one instance share.
pub(crate) struct App {
    /// The pod's name, as the `HOSTNAME` of its container.
    pub(crate) hostname: String,
    /// The version this instance claims to be.
    pub(crate) version: String,
    /// Requests served, by path.
    pub(crate) counts: Mutex<counts::Counts>,
    /// Which requests are to fail on purpose.
    pub(crate) failures: Mutex<failure::Failures>,
}

impl App {
    /// The line every hello answer consists of.
    pub(crate) fn hello(&self) -> String {
        format!("{}:{}\n", self.hostname, self.version)
    }
}

/// Serves until SIGTERM or SIGINT, then ends as a well-behaved application does (see the module `lifecycle`).
///
/// # Errors
/// A port that cannot be bound, unusable TLS material, or a runtime that cannot be built.
pub fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let app = Arc::new(App {
        hostname: args.hostname(),
        version: args.version.clone(),
        counts: Mutex::default(),
        failures: Mutex::new(failure::Failures::new(args.fail.clone())),
    });
    let mut tls = None;
    let mut sockets = Vec::new();
    for port in args.effective_ports() {
        if port.protocol == Protocol::Tls && tls.is_none() {
            tls = Some(tls::acceptor(&args.tls, &app.hostname)?);
        }
        let socket = listen::bind(port.number).with_context(|| format!("cannot listen on port {}", port.number))?;
        sockets.push((socket, port.protocol));
    }
    let life = lifecycle::Lifecycle::new(args.linger(), args.grace());
    for (socket, protocol) in sockets {
        let serving = listen::Serving { app: app.clone(), protocol, tls: tls.clone(), life: life.handle() };
        tokio::spawn(listen::accept(socket, serving));
    }
    life.run_to_the_end().await
}
