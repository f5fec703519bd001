//! `listen --exec`: a command for each sender.

use std::path::PathBuf;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;

use crate::harness::{Relay, noise, run, sha256, within};

/// A place where a command leaves word for the test.
struct Mailbox {
    path: PathBuf,
    reader: BufReader<pipe::Receiver>,
}

impl Mailbox {
    fn new(relay: &Relay) -> Self {
        let path = relay.home().join("mailbox");
        nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        // Open for writing as well, so that the time before the first writer is no end.
        let reader = pipe::OpenOptions::new().read_write(true).open_receiver(&path).unwrap();
        Self { path, reader: BufReader::new(reader) }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    async fn word(&mut self) -> String {
        let mut line = String::new();
        within("word from the command", self.reader.read_line(&mut line)).await.unwrap();
        line
    }
}

#[tokio::test]
async fn the_commands_input_ends_where_the_senders_does() {
    let relay = Relay::start().await;
    let _cat = relay.listen(["cat", "--exec", "cat"]).await;
    let _wc = relay.listen(["wc", "--exec", "wc -c"]).await;
    assert_eq!(run(relay.command().args(["connect", "cat"]), "x").await.ok(), b"x");
    assert_eq!(run(relay.command().args(["connect", "cat"]), "").await.ok(), b"");
    let counted = run(relay.command().args(["connect", "wc"]), "twelve bytes").await;
    assert_eq!(String::from_utf8(counted.ok()).unwrap().trim(), "12");
}

#[tokio::test]
async fn much_data_passes_both_ways_unchanged() {
    let relay = Relay::start().await;
    let _listener = relay.listen(["cat", "--exec", "cat"]).await;
    let data = noise(20_000_000);
    assert_eq!(sha256(&run(relay.command().args(["connect", "cat"]), &data).await.ok()), sha256(&data));
}

#[tokio::test]
async fn each_sender_has_a_command_of_its_own() {
    let relay = Relay::start().await;
    let _listener = relay.listen(["pid", "--exec", "echo $$; exec cat"]).await;
    let (mut one, mut two) = (relay.connect(["pid"]), relay.connect(["pid"]));
    assert_ne!(one.line().await, two.line().await);
    for process in [&mut one, &mut two] {
        process.write("y").await;
        process.close_stdin();
        assert_eq!(process.rest().await, b"y");
    }
}

#[tokio::test]
async fn the_command_knows_who_connects_but_not_the_key() {
    let relay = Relay::start().await;
    let show =
        r#"echo "$HYBRIDRELAY_PATH|$HYBRIDRELAY_QUERY"; echo "$HYBRIDRELAY_REMOTE_ADDR|$HYBRIDRELAY_TRACKING_ID"; env"#;
    let _listener = relay.listen(["who", "--exec", show]).await;
    let output = run(relay.command().args(["connect", "who/7?x=1"]), "").await;
    let text = output.text().to_owned();
    assert!(text.starts_with("/7|x=1\n127.0.0.1:"), "{text}");
    assert!(text.lines().nth(1).unwrap().ends_with("_G0"), "{text}");
    assert!(!text.contains(relay.text("key")) && !text.contains("CONNECTION_STRING"), "{text}");
}

#[tokio::test]
async fn a_command_may_end_its_output_and_go_on_reading() {
    let relay = Relay::start().await;
    let mut mailbox = Mailbox::new(&relay);
    let command = format!("echo done; exec >&-; wc -c > {}", mailbox.path());
    let _listener = relay.listen(["upload", "--exec", &command]).await;
    let mut connect = relay.connect(["upload"]);
    assert_eq!(connect.rest().await, b"done\n");
    connect.write(noise(300_000)).await;
    connect.close_stdin();
    assert_eq!(mailbox.word().await.trim(), "300000");
    assert_eq!(connect.exit().await.code(), Some(0));
}

#[tokio::test]
async fn what_a_command_does_not_read_does_not_hold_up_its_answer() {
    let relay = Relay::start().await;
    let _listener = relay.listen(["head", "--exec", "head -c 3"]).await;
    let output = run(relay.command().args(["connect", "head"]), noise(1_000_000)).await;
    assert_eq!(output.stdout, &noise(3)[..]);
}

#[tokio::test]
async fn a_sender_without_end_is_cut_off_when_the_command_has_ended() {
    let relay = Relay::start().await;
    let _listener = relay.listen(["head", "--exec", "head -c 3"]).await;
    let mut connect = relay.connect(["head"]);
    let mut stdin = connect.stdin.take().unwrap();
    let endless = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while stdin.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    let output = connect.output().await;
    assert_eq!(output.stdout, b"xxx");
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    within("the sender's own end", endless).await.unwrap();
}

#[tokio::test]
async fn a_killed_command_is_an_abort() {
    let relay = Relay::start().await;
    for command in ["echo begun; kill -KILL $$", "echo begun; sh -c 'kill -TERM $$'"] {
        let _listener = relay.listen(["fragile", "--exec", command]).await;
        let output = run(relay.command().args(["connect", "fragile"]), "").await;
        assert_eq!(output.code, Some(1), "{command}: {}", output.stderr);
        assert!(output.stderr.starts_with("error: the connection to 'fragile' was lost: "), "{}", output.stderr);
    }
}

#[tokio::test]
async fn a_command_that_fails_by_itself_ends_in_good_order() {
    let relay = Relay::start().await;
    let mut listener = relay.listen(["failing", "--exec", "echo sorry; exit 3"]).await;
    assert_eq!(run(relay.command().args(["connect", "failing"]), "").await.ok(), b"sorry\n");
    listener.says("the command ended with exit status: 3").await;
}

#[tokio::test]
async fn a_broken_connection_terminates_the_command_before_its_input_ends() {
    let relay = Relay::start().await;
    let mut mailbox = Mailbox::new(&relay);
    let leave = |word: &str| format!("echo {word} > {}", mailbox.path());
    let command = format!("trap '{}; exit' TERM; cat; {}", leave("terminated"), leave("complete"));
    let _listener = relay.listen(["upload", "--exec", &command]).await;
    let mut connect = relay.connect(["upload"]);
    connect.write("half of it").await;
    assert_eq!(connect.read(10).await, b"half of it");
    connect.signal(Signal::SIGKILL);
    assert_eq!(mailbox.word().await, "terminated\n");
}

#[tokio::test]
async fn a_second_signal_to_the_listener_kills_its_commands() {
    let relay = Relay::start().await;
    let mut listener = relay.listen(["shell", "--exec", "trap '' TERM INT HUP; echo begun; cat"]).await;
    let mut connect = relay.connect(["shell"]);
    assert_eq!(connect.line().await, "begun\n");
    listener.signal(Signal::SIGTERM);
    listener.says("waiting for 1 connection to end").await;
    connect.write("still served\n").await;
    assert_eq!(connect.line().await, "still served\n");
    listener.signal(Signal::SIGINT);
    assert_eq!(listener.exit().await.code(), Some(130));
    assert_eq!(connect.output().await.code, Some(1));
}
