//! nginx behind `expose`: what a server of the world relies on passes unchanged.

use std::path::{Path, PathBuf};

use futures_util::{SinkExt, StreamExt};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::{Answer, answer, plain_curl};
use crate::harness::{Process, Relay, noise, run, sha256, within};

/// nginx on a free port of loopback, in the foreground and without children.
struct Nginx {
    process: Process,
    port: u16,
    files: TempDir,
}

impl Nginx {
    async fn start() -> Self {
        Self::start_in_front_of(None).await
    }

    /// With `/ws` passed on to a server of WebSockets.
    async fn start_in_front_of(websockets: Option<u16>) -> Self {
        // Somebody may take the port before nginx does.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("it is bound");
            let mut nginx = Self::spawn(free.port(), websockets);
            // It is said when the sockets are bound.
            if nginx.process.says_before_its_end("event method").await {
                return nginx;
            }
        }
        panic!("nginx finds no port");
    }

    fn spawn(port: u16, websockets: Option<u16>) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let dir = files.path();
        for folder in ["www/up", "tmp"] {
            std::fs::create_dir_all(dir.join(folder)).expect("a directory");
        }
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.join("www").join(name), bytes).expect("a file");
        write("file", &noise(300_000));
        write("page.html", "<p>Hello.</p>\n".repeat(2000).as_bytes());
        std::fs::write(dir.join("nginx.conf"), config(dir, port, websockets)).expect("a file");
        let mut command = Command::new("nginx");
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        command
            .env_clear()
            .env("PATH", path)
            .kill_on_drop(true)
            .arg("-p")
            .arg(dir)
            .arg("-c")
            .arg(dir.join("nginx.conf"));
        command.args(["-e", "stderr"]);
        Self { process: Process::start(&mut command), port, files }
    }

    /// Where an uploaded file lies.
    fn uploaded(&self, name: &str) -> PathBuf {
        self.files.path().join("www/up").join(name)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn config(dir: &Path, port: u16, websockets: Option<u16>) -> String {
    let dir = dir.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {dir}/tmp;\n"))
        .concat();
    let websockets = websockets.map_or(String::new(), |port| {
        format!(
            "location /ws {{ proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1;
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }}"
        )
    });
    format!(
        "daemon off; master_process off; worker_processes 1; pid {dir}/pid; error_log stderr info;
         events {{ worker_connections 256; }}
         http {{
             access_log off; {temporary}
             types {{ text/html html; }} default_type application/octet-stream;
             server {{
                 listen 127.0.0.1:{port}; root {dir}/www;
                 gzip on; gzip_vary on; gzip_proxied any;
                 location /up {{ dav_methods PUT; client_max_body_size 0; }}
                 location = /cookies {{
                     add_header Set-Cookie \"a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/\";
                     add_header Set-Cookie \"b=x, y; Expires=Thu, 22 Oct 2026 07:28:00 GMT\";
                     add_header Set-Cookie \"c=; Max-Age=0\";
                     return 204;
                 }}
                 {websockets}
             }}
         }}"
    )
}

/// What nginx answers by itself and behind a relay, by either version of HTTP: the same but for the headers that every hop writes.
async fn compare(nginx: &Nginx, relay: &Relay, arguments: &[&str], path: &str) -> Answer {
    let direct = answer(plain_curl().args(arguments).arg(format!("{}{path}", nginx.url()))).await;
    for version in ["--http1.1", "--http2"] {
        let mut curl = relay.curl("web").await;
        let relayed = answer(curl.arg(version).args(arguments).arg(relay.url(&format!("/web{path}")))).await;
        assert_eq!(relayed.status(), direct.status(), "{}", relayed.head);
        assert_eq!(sha256(&relayed.body), sha256(&direct.body), "{}", relayed.head);
        let own = ["connection", "content-length", "date", "transfer-encoding", "via"];
        let fields = |answer: &Answer| {
            let lines = answer.head.lines().skip(1).map(|line| line.split_once(": ").expect("a header"));
            let mut fields: Vec<_> =
                lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim_end().to_owned())).collect();
            fields.retain(|(name, _)| !own.contains(&name.as_str()));
            fields.sort();
            fields
        };
        assert_eq!(fields(&relayed), fields(&direct));
        assert_eq!(relayed.values("via").len(), 1, "{}", relayed.head);
    }
    direct
}

#[tokio::test]
async fn ranges_conditions_and_encodings_pass_unchanged() {
    let relay = Relay::start().await;
    let nginx = Nginx::start().await;
    let _exposed = relay.expose(&["web", &nginx.url()]).await;
    let whole = compare(&nginx, &relay, &[], "/file").await;
    assert_eq!((whole.status(), whole.body.len()), ("200", 300_000));

    for (range, len) in [("100-199", 100), ("-5", 5), ("200000-", 100_000)] {
        let part = compare(&nginx, &relay, &["--range", range], "/file").await;
        assert_eq!((part.status(), part.body.len()), ("206", len), "{range}");
    }
    let parts = compare_parts(&nginx, &relay).await;
    assert!(parts.values("content-type")[0].starts_with("multipart/byteranges; boundary="), "{}", parts.head);
    assert_eq!(compare(&nginx, &relay, &["--range", "300000-"], "/file").await.status(), "416");

    let etag = format!("If-None-Match: {}", whole.values("etag")[0]);
    let modified = format!("If-Modified-Since: {}", whole.values("last-modified")[0]);
    for condition in [&etag, &modified] {
        let unchanged = compare(&nginx, &relay, &["--header", condition], "/file").await;
        assert_eq!((unchanged.status(), unchanged.body.len()), ("304", 0), "{condition}");
    }
    let head = compare(&nginx, &relay, &["--head"], "/file").await;
    assert_eq!(head.values("content-length"), ["300000"]);

    let zipped = compare(&nginx, &relay, &["--header", "Accept-Encoding: gzip"], "/page.html").await;
    assert_eq!((zipped.values("content-encoding"), zipped.values("vary")), (vec!["gzip"], vec!["Accept-Encoding"]));
    assert!(zipped.body.starts_with(&[0x1f, 0x8b]), "nobody unpacks it");
    let plain = compare(&nginx, &relay, &[], "/page.html").await;
    assert!(plain.values("content-encoding").is_empty() && plain.body.starts_with(b"<p>Hello"));

    let cookies = compare(&nginx, &relay, &[], "/cookies").await;
    let expected = [
        "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/",
        "b=x, y; Expires=Thu, 22 Oct 2026 07:28:00 GMT",
        "c=; Max-Age=0",
    ];
    assert_eq!(cookies.values("set-cookie"), expected);
}

/// Two ranges at once: nginx makes a new boundary each time, so that only lengths can be compared.
async fn compare_parts(nginx: &Nginx, relay: &Relay) -> Answer {
    let parts = ["--range", "0-9,100-109"];
    let direct = answer(plain_curl().args(parts).arg(format!("{}/file", nginx.url()))).await;
    let mut curl = relay.curl("web").await;
    let relayed = answer(curl.args(parts).arg(relay.url("/web/file"))).await;
    assert_eq!((relayed.status(), relayed.body.len()), ("206", direct.body.len()));
    relayed
}

#[tokio::test]
async fn uploads_stream_to_the_server() {
    let relay = Relay::start().await;
    let nginx = Nginx::start().await;
    let mut exposed = relay.expose(&["web", &nginx.url()]).await;
    let data = noise(64 << 20);
    let digest = sha256(&data);
    run(&mut relay.request(&["PUT", "--fail", "web/up/by-pipe", "-d", "@-"]), &data).await.ok();
    exposed.says("PUT /up/by-pipe 201  0 bytes").await;
    let file = relay.home().join("data");
    std::fs::write(&file, &data[..8 << 20]).unwrap();
    let from_file = format!("@{}", file.display());
    run(&mut relay.request(&["PUT", "--fail", "web/up/by-file", "-d", &from_file]), "").await.ok();
    for version in ["--http1.1", "--http2"] {
        let mut curl = relay.curl("web").await;
        let url = relay.url(&format!("/web/up/curl{version}"));
        run(curl.args([version, "--fail", "--upload-file"]).arg(&file).arg(url), "").await.ok();
    }
    let uploaded = |name: &str| sha256(&std::fs::read(nginx.uploaded(name)).expect("it was uploaded"));
    assert_eq!(uploaded("by-pipe"), digest);
    for name in ["by-file", "curl--http1.1", "curl--http2"] {
        assert_eq!(uploaded(name), sha256(&data[..8 << 20]), "{name}");
    }
}

#[tokio::test]
async fn websockets_pass_through_its_proxy() {
    let relay = Relay::start().await;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nginx = Nginx::start_in_front_of(Some(server.local_addr().unwrap().port())).await;
    let mut exposed = relay.expose(&["web", &nginx.url()]).await;
    let serving = tokio::spawn(async move {
        let (stream, _) = server.accept().await.unwrap();
        let mut ws = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = ws.next().await {
            if message.is_text() {
                ws.send(message).await.unwrap();
            }
        }
    });
    let output = run(relay.command().args(["connect", "web/ws/chat?x=1", "--text"]), "one\ntwo\n").await;
    assert_eq!(output.ok(), b"one\ntwo\n");
    exposed.says("CONNECT /ws/chat 101  6 bytes").await;
    within("the server's end", serving).await.unwrap();

    // What is answered otherwise is no connection.
    let refused = run(relay.command().args(["connect", "web/cookies"]), "").await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("400 No Content"), "{}", refused.stderr);
    exposed.says("CONNECT /cookies 400  0 bytes").await;
}
