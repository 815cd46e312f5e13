//! Servers: scripted ones in threads, real ones as processes. Loopback only.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use outrigger_loadtests::{Plan, Report, run};

/// Serves each connection with `serve` in a thread of its own, until the tests end.
pub fn scripted(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Serves HTTP/1.1 requests without a body: `answer` gives the bytes to write, empty to close.
pub fn answering(answer: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    scripted(move |mut stream| {
        while read_head(&mut stream).is_some() {
            let bytes = answer();
            if bytes.is_empty() || stream.write_all(&bytes).is_err() {
                return;
            }
        }
    })
}

/// Connects until nobody is let in any more: what knocks then gets no reply, as of a host that drops packets. The connections
/// keep it so.
pub fn crowd(address: SocketAddr) -> Vec<TcpStream> {
    let moment = Duration::from_millis(300);
    std::iter::from_fn(|| TcpStream::connect_timeout(&address, moment).ok()).collect()
}

/// A socket that listens with room for no more than one connection beside those that are accepted.
pub fn narrow() -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).expect("a free port");
    socket.listen(0).expect("listens");
    socket.into()
}

/// An answer without anything special.
pub fn plain(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Reads up to the end of a head; `None` at the end of the stream.
pub fn read_head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.extend(byte);
    }
    Some(head)
}

/// A plan for a path on an address, quick to give up.
pub fn plan(address: SocketAddr, requests: u64) -> Plan {
    Plan { timeout: Duration::from_secs(20), ..Plan::new(format!("http://{address}/"), requests) }
}

/// Carries a plan out.
pub async fn report(plan: Plan) -> Report {
    run(plan).await.expect("a plan that can be carried out")
}

/// A real server, ended when dropped.
pub struct Program(Child);

impl Program {
    /// Starts it and waits until it accepts on all of these addresses.
    pub fn start(mut command: Command, ports: &[u16]) -> Program {
        let name = format!("{:?}", command.get_program());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut program = Program(child.unwrap_or_else(|error| panic!("{name} does not start (scripts/deps test installs it): {error}")));
        let begin = Instant::now();
        while !ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
            let ended = program.0.try_wait().expect("a child");
            assert!(ended.is_none() && begin.elapsed() < Duration::from_secs(30), "{name} does not listen: {ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _already_ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Ports nobody listens on now. Another process could take one before it is used.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let sockets = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    sockets.map(|socket| socket.local_addr().expect("bound").port())
}

/// nginx with this inside its `http` block; its folder is `$folder`.
pub fn nginx(folder: &Path, http: &str, ports: &[u16]) -> Program {
    let folder_text = folder.display();
    let paths: String =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {folder_text}/{kind};\n")).concat();
    let conf = format!(
        "daemon off;\nmaster_process off;\nerror_log stderr error;\npid {folder_text}/pid;\nevents {{ worker_connections 512; }}\n\
         http {{\n{paths}access_log off;\nkeepalive_requests 1000000;\n{}\n}}\n",
        http.replace("$folder", &folder_text.to_string())
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, conf).expect("written");
    let mut command = Command::new("nginx");
    command.env("PATH", path()).arg("-p").arg(folder).arg("-c").arg(&file);
    Program::start(command, ports)
}

/// HAProxy with this behind its defaults; its folder is `$folder`.
pub fn haproxy(folder: &Path, sections: &str, ports: &[u16]) -> Program {
    let conf = format!(
        "global\n  maxconn 500\ndefaults\n  mode http\n  timeout client 30s\n  timeout connect 5s\n  timeout server 30s\n{}\n",
        sections.replace("$folder", &folder.display().to_string())
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, conf).expect("written");
    let mut command = Command::new("haproxy");
    command.env("PATH", path()).arg("-q").arg("-db").arg("-f").arg(&file);
    Program::start(command, ports)
}

/// nghttpd serving a folder, with TLS when there is a key and a certificate.
pub fn nghttpd(folder: &Path, port: u16, tls: Option<(&Path, &Path)>) -> Program {
    let mut command = Command::new("nghttpd");
    command.env("PATH", path()).arg("-d").arg(folder).args(["--address", "127.0.0.1"]);
    match tls {
        Some((key, certificate)) => command.arg(port.to_string()).arg(key).arg(certificate),
        None => command.arg("--no-tls").arg(port.to_string()),
    };
    Program::start(command, &[port])
}

/// Debian keeps servers where users' paths do not look.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
