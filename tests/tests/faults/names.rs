//! A resolver that fails, or does not answer, for a while.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hybridrelay_tests::faults::settled;
use hybridrelay_tests::faults::site::{RELAY, RELAY_NAME, Site, Way};
use hybridrelay_tests::netns::Namespace;

use crate::{programs, run};

const ANSWERS: u8 = 0;
const FAILS: u8 = 1;
const IS_SILENT: u8 = 2;
const ENDS: u8 = 3;

/// A name server that knows one name. It ends when dropped.
struct NameServer {
    mood: Arc<AtomicU8>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    fn start(namespace: &Namespace) -> Self {
        let mood = Arc::new(AtomicU8::new(ANSWERS));
        let (bound, ready) = std::sync::mpsc::channel();
        let thread = namespace.thread({
            let mood = mood.clone();
            move || {
                let socket = UdpSocket::bind(SocketAddr::from((RELAY, 53))).expect("the port is free");
                socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
                bound.send(()).expect("somebody waits");
                serve(&socket, &mood);
            }
        });
        ready.recv().expect("the server is bound");
        Self { mood, thread: Some(thread) }
    }

    fn be(&self, mood: u8) {
        self.mood.store(mood, Ordering::Relaxed);
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.be(ENDS);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, mood: &AtomicU8) {
    let mut query = [0; 512];
    loop {
        let received = socket.recv_from(&mut query);
        let mood = mood.load(Ordering::Relaxed);
        match (received, mood) {
            (_, ENDS) => return,
            (Err(_), _) | (_, IS_SILENT) => {}
            (Ok((len, from)), mood) => {
                // Whoever asked may be gone.
                let _ = socket.send_to(&answer(&query[..len], mood == FAILS), from);
            }
        }
    }
}

/// The answer to a query (RFC 1035, 4): the same question, and the relay's address if that is what was asked for.
fn answer(query: &[u8], fails: bool) -> Vec<u8> {
    let name_ends = 12 + query[12..].iter().position(|byte| *byte == 0).expect("a name ends with an empty label") + 1;
    let question = &query[12..name_ends + 4];
    let is_for_ipv4 = question[question.len() - 4..question.len() - 2] == [0, 1];
    let (code, answers) = if fails { (2, 0) } else { (0, u8::from(is_for_ipv4)) };
    let mut answer = Vec::from(&query[..2]);
    // A response with recursion available; one question, so many answers, nothing else.
    answer.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
    answer.extend(question);
    if answers == 1 {
        // The name of the question, an IPv4 address of the Internet that is good for no time at all.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(RELAY.octets());
    }
    answer
}

#[test]
fn a_listener_is_back_as_soon_as_the_relays_name_is_resolved_again() {
    run(async {
        let mut site = Site::start(&programs(), None).await;
        let names = NameServer::start(site.namespace());
        let resolver = format!("nameserver {RELAY}\n");
        let nsswitch = "passwd: files\ngroup: files\nhosts: dns\n";
        let peer = site.peer(1, &[("resolv.conf", &resolver), ("nsswitch.conf", nsswitch)]);
        let target = site.target("hyco", Way::Name);
        peer.listen("listener", &target).await;
        let before = (site.quiet().await, peer.quiet().await);

        let unresolved = format!("cannot resolve the host name {RELAY_NAME}");
        // The library gives a silent resolver up before the system does.
        let unanswered = "did not accept a TCP connection within 5 s";
        for (mood, error) in [(FAILS, &*unresolved), (IS_SILENT, unanswered)] {
            names.be(mood);
            site.kill_relay().await;
            site.start_relay().await;
            peer.offline("listener", error).await;
            names.be(ANSWERS);
            let healed = hybridrelay_tests::faults::now();
            peer.back("listener", &target, healed).await;
        }
        settled(before.0, || site.vitals()).await;
        settled(before.1, || peer.vitals()).await;
    });
}
