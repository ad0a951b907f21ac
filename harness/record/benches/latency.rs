//! What the proxy adds, on the loopback interface: `cargo bench -p nomoat-record --bench latency`.
//!
//! A trivial server, a client, and both ways between them by turns, so that what else the host does meets both. Once as round trips of small
//! requests, once as events of streams, each with the time at which it was written.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use nomoat_record::{Config, Proxy, Upstream};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const ROUND_TRIPS: usize = 10_000;
const STREAMS: usize = 20;
const EVENTS: usize = 250;
const PACE: Duration = Duration::from_micros(500);
/// Digits of a time in an event.
const DIGITS: usize = 20;
const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{\"choices\":[{\"text\":\"x\",\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":1}}";
const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn request(stream: bool) -> Vec<u8> {
    let body = format!(r#"{{"messages":[{{"role":"user","content":"{}"}}],"stream":{stream}}}"#, "word ".repeat(100));
    let length = body.len();
    format!("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A chunk with an event that says when it was written.
fn event(begun: Instant) -> Vec<u8> {
    let data = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{:0DIGITS$}\"}}}}]}}\n\n", begun.elapsed().as_nanos());
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

fn serve(mut client: TcpStream, begun: Instant) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let (plain, streamed) = (request(false).len(), request(true).len());
    let mut buffer = vec![0; 4096];
    let mut have = 0;
    loop {
        // The proxy's requests have another host, whose length is that of an address: the body's end tells.
        have += match client.read(&mut buffer[have..])? {
            0 => return Ok(()),
            n => n,
        };
        if !buffer[..have].ends_with(b"}") || have + 1 < plain.min(streamed) {
            continue;
        }
        let wants_stream = buffer[..have].ends_with(b"true}");
        have = 0;
        if !wants_stream {
            client.write_all(PLAIN)?;
            continue;
        }
        client.write_all(STREAM)?;
        for _ in 0..EVENTS {
            std::thread::sleep(PACE);
            client.write_all(&event(begun))?;
        }
        client.write_all(b"0\r\n\r\n")?;
    }
}

struct Way {
    name: &'static str,
    client: TcpStream,
    trips: Vec<u64>,
    delays: Vec<u64>,
}

impl Way {
    fn new(name: &'static str, to: SocketAddr) -> Self {
        let client = TcpStream::connect(to).unwrap();
        client.set_nodelay(true).unwrap();
        // Nothing here takes long: what hangs is to fail.
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { name, client, trips: vec![], delays: vec![] }
    }

    fn trip(&mut self, request: &[u8]) {
        let mut answer = [0; PLAIN.len()];
        let sent = Instant::now();
        self.client.write_all(request).unwrap();
        self.client.read_exact(&mut answer).unwrap();
        self.trips.push(sent.elapsed().as_nanos() as u64);
        assert_eq!(answer, PLAIN);
    }

    fn stream(&mut self, request: &[u8], begun: Instant) {
        self.client.write_all(request).unwrap();
        let mut head = [0; STREAM.len()];
        self.client.read_exact(&mut head).unwrap();
        let mut one = event(begun);
        for _ in 0..EVENTS {
            self.client.read_exact(&mut one).unwrap();
            let now = begun.elapsed().as_nanos() as u64;
            let digits = one.len() - "\"}}]}\n\n\r\n".len() - DIGITS;
            let written: u64 = std::str::from_utf8(&one[digits..digits + DIGITS]).unwrap().parse().unwrap();
            self.delays.push(now - written);
        }
        self.client.read_exact(&mut [0; 5]).unwrap();
    }
}

fn percentile(times: &mut [u64], share: f64) -> f64 {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize] as f64 / 1_000.0
}

fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, begun) = (listener.local_addr().unwrap(), Instant::now());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || serve(client, begun));
        }
    });
    let proxy = Proxy::start(Config::new(Upstream::parse(&format!("http://{addr}")).unwrap())).unwrap();
    let mut ways = [Way::new("direct", addr), Way::new("recorded", proxy.addr())];
    let (plain, streamed) = (request(false), request(true));
    for _ in 0..ROUND_TRIPS {
        ways.iter_mut().for_each(|way| way.trip(&plain));
    }
    for _ in 0..STREAMS {
        ways.iter_mut().for_each(|way| way.stream(&streamed, begun));
    }
    println!("µs{:>26}{:>10}{:>10}{:>10}", "p50", "p99", "p99.9", "n");
    for (what, times) in [("round trip", 0), ("event", 1)] {
        let mut rows = ways.iter_mut().map(|way| {
            let times = if times == 0 { &mut way.trips } else { &mut way.delays };
            let row = [0.5, 0.99, 0.999].map(|share| percentile(times, share));
            println!("{what:<11}{:<9}{:>8.1}{:>10.1}{:>10.1}{:>10}", way.name, row[0], row[1], row[2], times.len());
            row
        });
        let (direct, recorded) = (rows.next().unwrap(), rows.next().unwrap());
        let added: Vec<f64> = direct.iter().zip(recorded).map(|(direct, recorded)| recorded - direct).collect();
        println!("{what:<11}{:<9}{:>8.1}{:>10.1}{:>10.1}", "added", added[0], added[1], added[2]);
    }
    let recording = proxy.stop();
    assert_eq!(recording.trace.requests.len(), ROUND_TRIPS + STREAMS, "{:?}", recording.trace.losses);
}
