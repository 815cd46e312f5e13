//! A pod's network namespace and a client's, joined by a pair of interfaces; processes and threads in them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

/// Generous, for a machine that builds and tests at once; nothing here waits that long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_outrigger");

/// The pod's addresses.
pub const POD: [&str; 2] = ["10.77.0.9", "fd77::9"];
/// The client host's addresses: two of IPv4, then two of IPv6.
pub const CLIENTS: [[&str; 2]; 2] = [["10.77.0.1", "10.77.0.2"], ["fd77::1", "fd77::2"]];

/// Two namespaces with an interface each, IPv4 and IPv6.
pub struct Net {
    pub pod: String,
    pub client: String,
}

impl Net {
    pub fn new() -> Net {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let unique = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let net = Net { pod: format!("oragent-pod-{unique}"), client: format!("oragent-peer-{unique}") };
        for name in [&net.pod, &net.client] {
            run(&format!("ip netns add {name}"));
            run(&format!("ip -n {name} link set lo up"));
        }
        run(&format!("ip -n {} link add eth0 type veth peer name eth0 netns {}", net.client, net.pod));
        run(&format!("ip -n {} addr add ::6/128 dev lo nodad", net.pod));
        for (name, addresses) in [(&net.pod, [POD[0], POD[1]].to_vec()), (&net.client, CLIENTS.concat())] {
            for address in addresses {
                let rest = if address.contains(':') { "/64 dev eth0 nodad" } else { "/24 dev eth0" };
                run(&format!("ip -n {name} addr add {address}{rest}"));
            }
            run(&format!("ip -n {name} link set eth0 up"));
        }
        for (family, gateway) in [("-4", CLIENTS[0][0]), ("-6", CLIENTS[1][0])] {
            run(&format!("ip -n {} {family} route add default via {gateway}", net.pod));
        }
        net
    }

    /// A command to be run in the pod's namespace.
    pub fn in_pod(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.pod, program]);
        command
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in [&self.pod, &self.client] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

/// Runs a command line to its end; it must succeed.
#[track_caller]
pub fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line} (this test needs root): {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `work` on a thread in a namespace and hands its result back.
pub fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let file = File::open(format!("/run/netns/{namespace}")).expect("the namespace");
            setns(file, CloneFlags::CLONE_NEWNET).expect("entered");
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// An application in the pod that tells who asks: over HTTP if it is asked so, else as a line. One answer names the
/// connection it came over, so that reuse can be seen.
pub fn application(net: &Net, port: u16) {
    for address in ["0.0.0.0", "::"] {
        let listener = inside(&net.pod, || listen(address.parse().expect("an address"), port));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                thread::spawn(move || tell(stream, number));
            }
        });
    }
}

/// Listens on one address; IPv6 alone if it is one.
pub fn listen(address: IpAddr, port: u16) -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::for_address((address, port).into()), socket2::Type::STREAM, None).expect("a socket");
    if address.is_ipv6() {
        socket.set_only_v6(true).expect("set");
    }
    socket.bind(&SocketAddr::new(address, port).into()).expect("bound");
    socket.listen(64).expect("listening");
    socket.into()
}

fn tell(mut stream: TcpStream, number: usize) {
    let peer = stream.peer_addr().expect("a peer").ip();
    let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
        let body = format!("{peer} {number}\n");
        let http = line.contains(" HTTP/1.");
        while http && line.trim() != "" {
            line.clear();
            let _ = reader.read_line(&mut line);
        }
        let head = if http { format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()) } else { String::new() };
        let _ = stream.write_all((head + &body).as_bytes());
        line.clear();
    }
}

/// Sends `request` from an address and returns what came back until the peer paused after a whole line.
pub fn ask(source: &str, destination: SocketAddr, request: &str) -> std::io::Result<String> {
    let source = SocketAddr::new(source.parse().expect("an address"), 0);
    let socket = socket2::Socket::new(socket2::Domain::for_address(destination), socket2::Type::STREAM, None)?;
    socket.bind(&source.into())?;
    socket.connect_timeout(&destination.into(), PATIENCE)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut text = String::new();
    if request.contains("HTTP/1.") {
        reader.read_to_string(&mut text)?;
    } else {
        reader.read_line(&mut text)?;
    }
    Ok(text)
}

/// A child process that ends with the test, and what it has said.
pub struct Process {
    pub child: Child,
    said: Arc<Mutex<String>>,
}

impl Process {
    pub fn start(command: &mut Command) -> Process {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        let said = Arc::new(Mutex::new(String::new()));
        for stream in [Box::new(child.stdout.take().expect("piped")) as Box<dyn Read + Send>, Box::new(child.stderr.take().expect("piped"))]
        {
            let said = Arc::clone(&said);
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    said.lock().expect("not poisoned").push_str(&(line + "\n"));
                }
            });
        }
        Process { child, said }
    }

    pub fn said(&self) -> String {
        self.said.lock().expect("not poisoned").clone()
    }

    /// The same, for conditions.
    pub fn log(&self) -> impl Fn() -> String + use<> {
        let said = Arc::clone(&self.said);
        move || said.lock().expect("not poisoned").clone()
    }

    /// Waits until something holds.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !condition() {
            let ended = self.child.try_wait().expect("waited");
            assert!(ended.is_none() && begin.elapsed() < PATIENCE, "never: {what} ({ended:?}); it said:\n{}", self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its exit status.
    #[track_caller]
    pub fn ended(&mut self) -> std::process::ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end; it said:\n{}", self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
